//! Sums of exponentials of rows of any length: what softmax and cross-entropy begin with.

use super::math::exp;
use super::rows::{Floats, Tiles, blocks, fold, sum};
use crate::simd::{FmaKernel, dispatch_fma};
use crate::threads::map_ranges;

/// The sum of e^x over some elements, as `sum * e^max`.
#[derive(Debug, Clone, Copy)]
pub struct Exponentials {
    /// The largest element.
    pub max: f32,
    /// Of e^(x - max).
    pub sum: f64,
}

impl Exponentials {
    const NONE: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    fn join(self, other: Self) -> Self {
        let max = if self.max < other.max { other.max } else { self.max };
        let scaled = |part: Self| part.sum * f64::from(part.max - finite_shift(max)).exp();
        Self { max, sum: scaled(self) + scaled(other) }
    }

    /// The logarithm of the sum of e^x.
    pub fn logarithm(self) -> f32 {
        (f64::from(self.max) + self.sum.ln()) as f32
    }
}

/// -inf cannot be taken off itself. With 0 in its place, exponentials of -inf are 0, and NaN stays NaN.
#[inline(always)]
fn finite_shift(max: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// A part of a row that lies in the first cache.
struct Block<'a>(&'a [f32]);

impl FmaKernel for Block<'_> {
    type Output = Exponentials;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Exponentials {
        // NaN is passed over here, and makes the sum NaN.
        let max = fold(self.0, f32::NEG_INFINITY, |x| x, |a, b| if a < b { b } else { a });
        let shift = finite_shift(max);
        Exponentials { max, sum: f64::from(sum(self.0, |x| exp::<FMA>(x - shift))) }
    }
}

/// For each row of `x [rows, width]` that counts. Long rows are cut into pieces, which are joined in order.
pub fn exponentials(
    rows: usize,
    width: usize,
    x: Floats<'_>,
    counts: impl Fn(usize) -> bool + Sync,
) -> Vec<Exponentials> {
    let tiles = Tiles::new(rows, width);
    let parts = map_ranges(tiles.count, tiles.grain, |range| {
        let mut scratch = Vec::new();
        let of_tile = |tile| {
            let (row, elements) = tiles.get(tile);
            if !counts(row) {
                return Exponentials::NONE;
            }
            blocks(elements, 1)
                .map(|block| dispatch_fma(Block(x.range(block, &mut scratch))))
                .fold(Exponentials::NONE, Exponentials::join)
        };
        range.map(of_tile).collect::<Vec<_>>()
    });
    let parts = parts.concat();
    (0..rows)
        .map(|row| {
            parts[row * tiles.per_row..(row + 1) * tiles.per_row]
                .iter()
                .copied()
                .fold(Exponentials::NONE, Exponentials::join)
        })
        .collect()
}
