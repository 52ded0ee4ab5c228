//! Reductions of floats: rows as tiles that are joined in order, other axes by strips of columns.

use crate::cpu::rows::{BLOCK, Floats, Tiles, blocks, fold};
use crate::ops::ReduceShape;
use crate::simd::{FmaKernel, dispatch_fma};
use crate::storage::FloatsMut;
use crate::threads::{for_ranges, map_ranges};
use std::marker::PhantomData;

/// Columns that are reduced together: a row of them is a few cache lines.
const STRIP: usize = 128;
/// Rows that are combined in float32 before they go into the wider sums.
const ROWS: usize = 64;

/// A way to combine floats: short runs in float32, these in float64.
pub trait Combine: Sync {
    const START: f32;
    fn narrow(a: f32, b: f32) -> f32;
    fn wide(a: f64, b: f64) -> f64;
}

macro_rules! combine {
    ($($name:ident, $start:expr, |$a:ident, $b:ident| $body:expr;)*) => {$(
        #[doc = "See [`crate::ops::Reduction`]."]
        pub struct $name;
        impl Combine for $name {
            const START: f32 = $start;
            #[inline(always)]
            fn narrow($a: f32, $b: f32) -> f32 {
                $body
            }
            #[inline(always)]
            fn wide($a: f64, $b: f64) -> f64 {
                $body
            }
        }
    )*};
}
combine! {
    Sum, 0.0, |a, b| a + b;
    Product, 1.0, |a, b| a * b;
    // Not greater than a NaN is no reason to leave it.
    Max, f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a };
    Min, f32::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a };
}

/// Reduces the middle axis; results are multiplied by `factor`.
pub fn reduce<C: Combine>(shape: ReduceShape, factor: f64, x: Floats<'_>, output: &FloatsMut<'_>) {
    let ReduceShape { outer, reduced, inner } = shape;
    if inner == 1 {
        let results = reduce_rows::<C>(outer, reduced, x);
        let write = |y: &mut [f32]| y.iter_mut().zip(&results).for_each(|(y, result)| *y = (result * factor) as f32);
        // SAFETY: the only range.
        return unsafe { output.with_range(0..outer, false, &mut Vec::new(), write) };
    }
    let strips = inner.div_ceil(STRIP);
    let grain = (4 * BLOCK).div_ceil((reduced * inner.min(STRIP)).max(1));
    for_ranges(outer * strips, grain, |range| {
        let mut scratch = Vec::new();
        for strip in range {
            let (row, from) = (strip / strips, strip % strips * STRIP);
            let columns = from..(from + STRIP).min(inner);
            let first = row * reduced * inner + columns.start;
            let sums = dispatch_fma(Strip::<C> {
                x,
                first,
                rows: reduced,
                step: inner,
                width: columns.len(),
                combine: PhantomData::<C>,
            });
            let write = |y: &mut [f32]| y.iter_mut().zip(sums).for_each(|(y, sum)| *y = (sum * factor) as f32);
            // SAFETY: strips do not overlap.
            unsafe {
                output.with_range(row * inner + columns.start..row * inner + columns.end, false, &mut scratch, write);
            }
        }
    });
}

/// Each row's elements combined.
fn reduce_rows<C: Combine>(rows: usize, width: usize, x: Floats<'_>) -> Vec<f64> {
    let tiles = Tiles::new(rows, width);
    let parts = map_ranges(tiles.count, tiles.grain, |range| {
        let mut scratch = Vec::new();
        let of_tile = |tile| {
            blocks(tiles.get(tile).1, 1)
                .map(|block| dispatch_fma(Block(x.range(block, &mut scratch), PhantomData::<C>)))
                .fold(f64::from(C::START), |a, b| C::wide(a, f64::from(b)))
        };
        range.map(of_tile).collect::<Vec<_>>()
    });
    let parts = parts.concat();
    let join =
        |row| parts[row * tiles.per_row..(row + 1) * tiles.per_row].iter().copied().fold(f64::from(C::START), C::wide);
    if tiles.per_row == 1 { parts } else { (0..rows).map(join).collect() }
}

struct Block<'a, C>(&'a [f32], PhantomData<C>);

impl<C: Combine> FmaKernel for Block<'_, C> {
    type Output = f32;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f32 {
        fold(self.0, C::START, |x| x, C::narrow)
    }
}

/// Some columns of some rows.
struct Strip<'a, C> {
    x: Floats<'a>,
    /// Where the first row's part begins.
    first: usize,
    rows: usize,
    /// From one row to the next.
    step: usize,
    /// Columns.
    width: usize,
    combine: PhantomData<C>,
}

impl<C: Combine> FmaKernel for Strip<'_, C> {
    type Output = [f64; STRIP];
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; STRIP] {
        let mut scratch = Vec::new();
        let mut sums = [f64::from(C::START); STRIP];
        for from in (0..self.rows).step_by(ROWS) {
            let mut running = [C::START; STRIP];
            for row in from..(from + ROWS).min(self.rows) {
                let at = self.first + row * self.step;
                let values = self.x.range(at..at + self.width, &mut scratch);
                running.iter_mut().zip(values).for_each(|(sum, &x)| *sum = C::narrow(*sum, x));
            }
            sums.iter_mut().zip(running).for_each(|(sum, x)| *sum = C::wide(*sum, f64::from(x)));
        }
        sums
    }
}
