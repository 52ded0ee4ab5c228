//! Kernels that move elements without computing: the result is stored as the operand is.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// Elements read from a buffer in another order than they lie in, repeated or left out.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// Lengths of the axes, the outermost first.
    pub shape: &'a [usize],
    /// Where the first element lies.
    pub offset: usize,
    /// From one to the next along each axis: 0 repeats, negative goes back.
    pub strides: &'a [isize],
}

/// A box within a larger result.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    /// Lengths of the result's axes.
    pub shape: &'a [usize],
    /// Where the box begins on each axis.
    pub begin: &'a [usize],
}

/// Sizes of a gathering: x is `[batches, outer, axis, inner]`, the indices `[batches, count]`, the result `[batches, outer, count, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatherShape {
    /// Leading axes that x and indices share.
    pub batches: usize,
    /// Axes of x before the one that indices are of.
    pub outer: usize,
    /// That one.
    pub axis: usize,
    /// Axes of x behind it.
    pub inner: usize,
    /// Indices in a batch.
    pub count: usize,
}

/// Transposing, slicing, tiling, reversing, padding, joining, gathering.
pub trait Movement {
    /// Writes the elements of `x` that `from` names, in their order, into the box at `to` of `out`.
    ///
    /// # Errors
    /// If they are stored otherwise than `out`, or reach beyond either.
    fn copy(&self, x: View<'_>, from: Strided<'_>, out: ViewMut<'_>, to: Region<'_>) -> Result<()>;

    /// Joins rows: `out[i] = parts[0][i] ++ parts[1][i] ++ …` for each of `rows`.
    ///
    /// # Errors
    /// As for [`Movement::copy`].
    fn join(&self, rows: usize, parts: &[View<'_>], out: ViewMut<'_>) -> Result<()>;

    /// `out[.., i, ..] = x[.., indices[i], ..]`
    ///
    /// # Errors
    /// If an index is out of range, or as for [`Movement::copy`].
    fn gather(&self, shape: GatherShape, x: View<'_>, indices: View<'_>, out: ViewMut<'_>) -> Result<()>;
}
