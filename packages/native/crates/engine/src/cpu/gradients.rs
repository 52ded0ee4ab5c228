//! Sums, scales and norms of gradients: bound by memory, so each is one pass.

use super::CpuDevice;
use super::optimizers::{check_floats, check_length};
use super::row_steps::check_distinct;
use crate::error::{EngineError, Result};
use crate::ops::Gradients;
use crate::simd::{Kernel, dispatch};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::{for_ranges, map_ranges};

/// Elements that a thread takes at once.
const PIECE: usize = 1 << 14;
/// Sums that run side by side.
const LANES: usize = 16;

struct Add<'a> {
    into: &'a mut [f32],
    from: &'a [f32],
}

impl Kernel for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        add(self.into, self.from);
    }
}

#[inline(always)]
fn add(into: &mut [f32], from: &[f32]) {
    for (into, &from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

struct Scale<'a> {
    values: &'a mut [f32],
    factor: f32,
}

impl Kernel for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for value in self.values {
            *value *= self.factor;
        }
    }
}

struct SumOfSquares<'a>(&'a [f32]);

impl Kernel for SumOfSquares<'_> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        sum_by_lanes(self.0, |x| f64::from(x) * f64::from(x))
    }
}

struct SumOfMagnitudes<'a>(&'a [f32]);

impl Kernel for SumOfMagnitudes<'_> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        sum_by_lanes(self.0, |x| f64::from(x.abs()))
    }
}

#[inline(always)]
fn sum_by_lanes(values: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += term(block[lane]);
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        sums[lane] += term(x);
    }
    sums.iter().sum()
}

struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        // Without its sign a float is ordered as its bits are, and NaN comes after infinity.
        let bits = self.0.iter().fold(0, |largest: u32, x| largest.max(x.to_bits() & 0x7fff_ffff));
        f64::from(f32::from_bits(bits))
    }
}

impl Gradients for CpuDevice {
    fn accumulate(&self, into: ViewMut<'_>, gradient: View<'_>) -> Result<()> {
        let count = into.len();
        check_length("gradient", gradient.len(), count)?;
        check_floats(gradient)?;
        let into = FloatsMut::new(into)?;
        for_ranges(count, PIECE, |range| {
            let (mut of_into, mut of_gradient) = (Vec::new(), Vec::new());
            let Ok(from) = gradient.floats(range.clone(), &mut of_gradient) else { return };
            // SAFETY: pieces do not overlap.
            unsafe { into.with_range(range, true, &mut of_into, |into| dispatch(Add { into, from })) };
        });
        Ok(())
    }

    fn scale_in_place(&self, values: ViewMut<'_>, factor: f32) -> Result<()> {
        let count = values.len();
        let values = FloatsMut::new(values)?;
        for_ranges(count, PIECE, |range| {
            // SAFETY: pieces do not overlap.
            unsafe { values.with_range(range, true, &mut Vec::new(), |values| dispatch(Scale { values, factor })) };
        });
        Ok(())
    }

    fn norm(&self, tensors: &[View<'_>], p: f64) -> Result<f64> {
        if p.is_nan() || p <= 0.0 {
            return Err(EngineError::BadOperand(format!("There is no {p}-norm; p is above 0.")));
        }
        tensors.iter().try_for_each(|&tensor| check_floats(tensor))?;
        let pieces: Vec<View<'_>> = tensors.iter().flat_map(|&tensor| pieces_of(tensor)).collect();
        let parts = map_ranges(pieces.len(), 1, |range| {
            let (piece, mut scratch) = (pieces[range.start], Vec::new());
            piece.floats(0..piece.len(), &mut scratch).map_or(f64::NAN, |values| part_of_norm(values, p))
        });
        if p.is_infinite() {
            // NaN wins, as a sum's would.
            return Ok(parts.into_iter().fold(0.0, |a: f64, b| if a >= b || a.is_nan() { a } else { b }));
        }
        let sum: f64 = parts.into_iter().sum();
        Ok(if p == 2.0 {
            sum.sqrt()
        } else if p == 1.0 {
            sum
        } else {
            sum.powf(1.0 / p)
        })
    }

    fn add_rows(&self, into: ViewMut<'_>, rows: View<'_>, positions: &[i32], width: usize) -> Result<()> {
        check_length("rows", rows.len(), positions.len() * width)?;
        check_floats(rows)?;
        check_distinct(positions, into.len().checked_div(width).unwrap_or(0))?;
        let into = FloatsMut::new(into)?;
        for_ranges(positions.len(), PIECE.div_ceil(width.max(1)), |range| {
            let (mut of_into, mut of_rows) = (Vec::new(), Vec::new());
            for i in range {
                let Ok(from) = rows.floats(i * width..(i + 1) * width, &mut of_rows) else { return };
                let to = positions[i] as usize * width;
                // SAFETY: positions were checked to come once each.
                unsafe { into.with_range(to..to + width, true, &mut of_into, |into| dispatch(Add { into, from })) };
            }
        });
        Ok(())
    }
}

fn pieces_of(tensor: View<'_>) -> impl Iterator<Item = View<'_>> {
    (0..tensor.len()).step_by(PIECE).map(move |from| tensor.part(from, PIECE.min(tensor.len() - from)))
}

/// The largest magnitude, or the sum of powers.
fn part_of_norm(values: &[f32], p: f64) -> f64 {
    if p.is_infinite() {
        dispatch(Largest(values))
    } else if p == 2.0 {
        dispatch(SumOfSquares(values))
    } else if p == 1.0 {
        dispatch(SumOfMagnitudes(values))
    } else {
        values.iter().map(|&x| f64::from(x).abs().powf(p)).sum()
    }
}

#[cfg(test)]
#[path = "gradients_tests.rs"]
mod tests;
