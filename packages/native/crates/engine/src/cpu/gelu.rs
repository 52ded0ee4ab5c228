//! BLOOM's activation, as x sigmoid(2z) with z = 0.79788456 (x + 0.044715 x³): 1 + tanh(z) = 2 sigmoid(2z).

use super::CpuDevice;
use super::math::{fma, sigmoid};
use super::rows::{Floats, blocks, expect_len, rows_per_piece};
use crate::error::Result;
use crate::ops::Gelu;
use crate::simd::{FmaKernel, dispatch_fma};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;

/// sqrt(2 / pi) as BLOOM has it.
#[allow(clippy::excessive_precision)]
const SLOPE: f32 = 0.797_884_56;
const CUBIC: f32 = 0.044_715;

/// Beyond ±100 the sigmoid is 0 or 1 exactly; there x³ must not overflow.
#[inline(always)]
fn within(x: f32) -> f32 {
    let x = if x > 100.0 { 100.0 } else { x };
    if x < -100.0 { -100.0 } else { x }
}

#[inline(always)]
fn gate<const FMA: bool>(x: f32) -> f32 {
    sigmoid::<FMA>(x * fma::<FMA>(x * x, 2.0 * SLOPE * CUBIC, 2.0 * SLOPE))
}

/// The activation of one value, for epilogues of other kernels too.
#[inline(always)]
pub fn gelu<const FMA: bool>(x: f32) -> f32 {
    x * gate::<FMA>(within(x))
}

/// Its derivative.
#[inline(always)]
pub fn gelu_slope<const FMA: bool>(x: f32) -> f32 {
    let x = within(x);
    let s = gate::<FMA>(x);
    let steepness = x * fma::<FMA>(x * x, 6.0 * SLOPE * CUBIC, 2.0 * SLOPE);
    s * fma::<FMA>(steepness, 1.0 - s, 1.0)
}

struct Forward<'a>(&'a [f32], &'a mut [f32]);

impl FmaKernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.iter().zip(self.1).for_each(|(&x, y)| *y = gelu::<FMA>(x));
    }
}

struct Backward<'a>(&'a [f32], &'a [f32], &'a mut [f32]);

impl FmaKernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.iter().zip(self.1).zip(self.2).for_each(|((&dy, &x), dx)| *dx = dy * gelu_slope::<FMA>(x));
    }
}

struct Again<'a>(&'a [f32], &'a mut [f32], &'a mut [f32]);

impl FmaKernel for Again<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.iter().zip(self.1).zip(self.2).for_each(|((&x, gradient), y)| {
            *gradient *= gelu_slope::<FMA>(x);
            *y = gelu::<FMA>(x);
        });
    }
}

impl Gelu for CpuDevice {
    fn gelu(&self, x: View<'_>, output: ViewMut<'_>) -> Result<()> {
        expect_len("gelu", "output", output.len(), x.len())?;
        let len = x.len();
        let x = Floats::new(x)?;
        let output = FloatsMut::new(output)?;
        for_ranges(len, rows_per_piece(1), |piece| {
            let (mut x_scratch, mut y_scratch) = (Vec::new(), Vec::new());
            for block in blocks(piece, 1) {
                let x = x.range(block.clone(), &mut x_scratch);
                // SAFETY: blocks do not overlap.
                unsafe { output.with_range(block, false, &mut y_scratch, |y| dispatch_fma(Forward(x, y))) }
            }
        });
        Ok(())
    }

    fn gelu_grad(&self, output_gradient: View<'_>, x: View<'_>, x_gradient: ViewMut<'_>) -> Result<()> {
        expect_len("gelu_grad", "output_gradient", output_gradient.len(), x.len())?;
        expect_len("gelu_grad", "x_gradient", x_gradient.len(), x.len())?;
        let output_gradient = Floats::new(output_gradient)?;
        let len = x.len();
        let x = Floats::new(x)?;
        let x_gradient = FloatsMut::new(x_gradient)?;
        for_ranges(len, rows_per_piece(1), |piece| {
            let (mut dy_scratch, mut x_scratch, mut dx_scratch) = (Vec::new(), Vec::new(), Vec::new());
            for block in blocks(piece, 1) {
                let dy = output_gradient.range(block.clone(), &mut dy_scratch);
                let x = x.range(block.clone(), &mut x_scratch);
                // SAFETY: blocks do not overlap.
                unsafe { x_gradient.with_range(block, false, &mut dx_scratch, |dx| dispatch_fma(Backward(dy, x, dx))) }
            }
        });
        Ok(())
    }

    fn gelu_again(&self, x: View<'_>, gradient: ViewMut<'_>, output: ViewMut<'_>) -> Result<()> {
        expect_len("gelu_again", "gradient", gradient.len(), x.len())?;
        expect_len("gelu_again", "output", output.len(), x.len())?;
        let len = x.len();
        let x = Floats::new(x)?;
        let (gradient, output) = (FloatsMut::new(gradient)?, FloatsMut::new(output)?);
        for_ranges(len, rows_per_piece(1), |piece| {
            let (mut x_scratch, mut dy_scratch, mut y_scratch) = (Vec::new(), Vec::new(), Vec::new());
            for block in blocks(piece, 1) {
                let x = x.range(block.clone(), &mut x_scratch);
                // SAFETY: blocks do not overlap.
                unsafe {
                    gradient.with_range(block.clone(), true, &mut dy_scratch, |dy| {
                        output.with_range(block, false, &mut y_scratch, |y| dispatch_fma(Again(x, dy, y)));
                    });
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
