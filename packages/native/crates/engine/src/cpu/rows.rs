//! What kernels over rows share: how rows are cut into pieces and blocks, sums that vectorize, and the check of lengths.

use crate::error::{EngineError, Result};
use crate::storage::View;
use std::ops::Range;

/// Independent sums that a loop keeps, so that it vectorizes; their order is fixed, so that bits do not depend on the level of instructions
/// beyond what FMA changes.
pub const LANES: usize = 32;
/// Elements that are converted at once where they are stored as halves: they stay in the first cache.
pub const BLOCK: usize = 4096;
/// Elements that are worth a thread's while.
const PIECE: usize = 1 << 14;
/// More pieces than that are not made where each has partial sums of its own.
const MOST_PIECES: usize = 64;

/// Rows of a piece of work, from the shape only.
pub fn rows_per_piece(width: usize) -> usize {
    PIECE.div_ceil(width.max(1))
}

/// The same where each piece has partial sums that are joined afterwards: not too many of them.
pub fn rows_per_sum(rows: usize, width: usize) -> usize {
    rows_per_piece(width).max(16).max(rows.div_ceil(MOST_PIECES))
}

/// Cuts a piece's rows into blocks of about [`BLOCK`] elements.
pub fn blocks(rows: Range<usize>, width: usize) -> impl Iterator<Item = Range<usize>> {
    let step = (BLOCK / width.max(1)).max(1);
    let end = rows.end;
    rows.step_by(step).map(move |from| from..(from + step).min(end))
}

/// The elements of these rows.
pub fn elements(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

/// Rows cut into tiles: whole short rows, or pieces of long ones, so that also few rows make work for all threads.
#[derive(Debug, Clone, Copy)]
pub struct Tiles {
    width: usize,
    /// Of one row.
    pub per_row: usize,
    /// Of all rows.
    pub count: usize,
    /// Tiles that are worth a thread's while.
    pub grain: usize,
}

impl Tiles {
    /// Of `rows` rows of `width` elements.
    pub fn new(rows: usize, width: usize) -> Self {
        let per_row = width.div_ceil(PIECE);
        Self { width, per_row, count: rows * per_row, grain: PIECE.div_ceil(width.clamp(1, PIECE)) }
    }

    /// The row of a tile, and its elements.
    pub fn get(&self, tile: usize) -> (usize, Range<usize>) {
        let (row, piece) = (tile / self.per_row, tile % self.per_row);
        let from = row * self.width + piece * PIECE;
        (row, from..(from + PIECE).min((row + 1) * self.width))
    }
}

/// # Errors
/// If `len` elements are no whole rows of `width`.
pub fn row_count(kernel: &str, len: usize, width: usize) -> Result<usize> {
    let rows = len.checked_div(width).unwrap_or(0);
    if rows * width == len {
        return Ok(rows);
    }
    Err(EngineError::BadOperand(format!("{kernel}: {len} elements are no whole rows of {width}.")))
}

/// A float operand of any storage that is read by ranges.
#[derive(Clone, Copy)]
pub struct Floats<'a>(View<'a>);

impl<'a> Floats<'a> {
    /// # Errors
    /// If the elements are no floats.
    pub fn new(view: View<'a>) -> Result<Self> {
        view.floats(0..0, &mut Vec::new())?;
        Ok(Self(view))
    }

    /// Elements `range` as float32: where they lie, or converted into `scratch`.
    pub fn range<'s>(&self, range: Range<usize>, scratch: &'s mut Vec<f32>) -> &'s [f32]
    where
        'a: 's,
    {
        self.0.floats(range, scratch).expect("the storage was checked when it was made")
    }
}

/// # Errors
/// If `actual` is not `expected`.
pub fn expect_len(kernel: &str, what: &str, actual: usize, expected: usize) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    Err(EngineError::BadOperand(format!("{kernel}: {what} has {actual} elements; expected {expected}.")))
}

/// Joins lanes pairwise.
#[inline(always)]
pub fn join(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Combines `term` of each element with as many lanes as vectorize. `combine` is associative but for rounding.
#[inline(always)]
pub fn fold(x: &[f32], start: f32, term: impl Fn(f32) -> f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    if x.len() < LANES {
        return x.iter().fold(start, |sum, &x| combine(sum, term(x)));
    }
    let mut lanes = [start; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = combine(lanes[i], term(chunk[i]));
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = combine(*lane, term(x));
    }
    join(lanes, combine)
}

/// The sum of `term` of each element.
#[inline(always)]
pub fn sum(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    fold(x, 0.0, term, |a, b| a + b)
}

#[cfg(test)]
mod tests;
