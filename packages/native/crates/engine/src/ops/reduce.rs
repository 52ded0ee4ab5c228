//! Reductions along an axis.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// What elements are combined to. NaN is kept by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reduction {
    /// Their sum; times a factor for floats.
    Sum = 0,
    /// The largest; of booleans, whether any is true.
    Max = 1,
    /// The smallest; of booleans, whether all are true.
    Min = 2,
    /// Their product.
    Product = 3,
}

impl Reduction {
    /// The reduction of this number, as the addon passes it.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Sum, Self::Max, Self::Min, Self::Product].get(usize::from(code)).copied()
    }
}

/// `[outer, reduced, inner]` is reduced to `[outer, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReduceShape {
    /// Axes before.
    pub outer: usize,
    /// The axis, at least 1.
    pub reduced: usize,
    /// Axes after.
    pub inner: usize,
}

/// How a cumulative sum runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cumulation {
    /// An element's own value is left out.
    pub exclusive: bool,
    /// From the end of the row.
    pub reverse: bool,
}

/// Reductions along an axis, and what runs along the last one.
pub trait Reduce {
    /// Floats of any storage give floats; int32 and booleans give int32, or booleans if `output` has these. Sums of floats are formed in an order that
    /// depends on the shape only, with partial sums in float64; they are multiplied by `factor` (a mean is a sum), which integers ignore.
    ///
    /// # Errors
    /// If lengths do not fit the shape, or types each other.
    fn reduce(
        &self,
        reduction: Reduction,
        shape: ReduceShape,
        factor: f64,
        x: View<'_>,
        output: ViewMut<'_>,
    ) -> Result<()>;

    /// The index (int32) of each row's largest (or smallest) element, the first of equals. NaN is passed over, unless it is the first element of a row.
    ///
    /// # Errors
    /// If lengths do not fit `width`, or `x` is neither floats nor int32.
    fn arg_reduce(&self, largest: bool, width: usize, x: View<'_>, output: ViewMut<'_>) -> Result<()>;

    /// Sums of each row's elements up to each position: floats to floats, int32 and booleans to int32.
    ///
    /// # Errors
    /// If lengths do not fit `width`, or types each other.
    fn cumulative_sum(&self, width: usize, cumulation: Cumulation, x: View<'_>, output: ViewMut<'_>) -> Result<()>;
}
