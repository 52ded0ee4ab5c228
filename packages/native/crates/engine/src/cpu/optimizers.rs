//! Steps of optimizers on whole parameters: one pass over value, gradient and moments.

use super::CpuDevice;
use super::row_steps::{adam_rows, sgd_rows};
use crate::error::{EngineError, Result};
use crate::ops::{AdamFactors, Optimizers, SgdFactors, VisitedRows};
use crate::simd::{Kernel, dispatch};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;

/// Elements that a thread takes at once: with moments 256 KiB.
const PIECE: usize = 1 << 14;

/// Adam on elements of one parameter. All slices have the same length.
pub(super) struct Adam<'a> {
    pub value: &'a mut [f32],
    pub gradient: &'a [f32],
    pub exp_avg: &'a mut [f32],
    pub exp_avg_sq: &'a mut [f32],
    pub factors: AdamFactors,
}

impl Kernel for Adam<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        adam(self.value, self.gradient, self.exp_avg, self.exp_avg_sq, self.factors);
    }
}

/// A function of its own, so that the compiler knows that the slices do not overlap. Products and sums are not fused: every
/// level of instructions gives the same bits.
#[inline(always)]
fn adam(value: &mut [f32], gradient: &[f32], exp_avg: &mut [f32], exp_avg_sq: &mut [f32], f: AdamFactors) {
    let n = value.len();
    let (gradient, exp_avg, exp_avg_sq) = (&gradient[..n], &mut exp_avg[..n], &mut exp_avg_sq[..n]);
    for i in 0..n {
        let w = value[i];
        let g = gradient[i] * f.gradient_scale + f.coupled_decay * w;
        let m = exp_avg[i] + (g - exp_avg[i]) * f.first_share;
        let v = exp_avg_sq[i] * f.second_kept + g * g * f.second_share;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        value[i] = w * f.value_kept - m / (v.sqrt() + f.epsilon) * f.rate;
    }
}

/// Gradient descent on elements of one parameter. Without momentum the buffer is empty.
pub(super) struct Sgd<'a> {
    pub value: &'a mut [f32],
    pub gradient: &'a [f32],
    pub momentum: &'a mut [f32],
    pub factors: SgdFactors,
}

impl Kernel for Sgd<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        if self.momentum.is_empty() {
            plain(self.value, self.gradient, self.factors);
        } else {
            with_momentum(self.value, self.gradient, self.momentum, self.factors);
        }
    }
}

#[inline(always)]
fn plain(value: &mut [f32], gradient: &[f32], f: SgdFactors) {
    for (w, &g) in value.iter_mut().zip(gradient) {
        *w -= (g * f.gradient_scale + f.weight_decay * *w) * f.rate;
    }
}

#[inline(always)]
fn with_momentum(value: &mut [f32], gradient: &[f32], momentum: &mut [f32], f: SgdFactors) {
    let n = value.len();
    let (gradient, momentum) = (&gradient[..n], &mut momentum[..n]);
    for i in 0..n {
        let w = value[i];
        let g = gradient[i] * f.gradient_scale + f.weight_decay * w;
        let b = momentum[i] * f.momentum + g * f.gradient_share;
        momentum[i] = b;
        value[i] = w - if f.nesterov { g + b * f.momentum } else { b } * f.rate;
    }
}

impl Optimizers for CpuDevice {
    fn adam_step(
        &self,
        value: ViewMut<'_>,
        gradient: View<'_>,
        exp_avg: ViewMut<'_>,
        exp_avg_sq: ViewMut<'_>,
        factors: AdamFactors,
    ) -> Result<()> {
        let count = value.len();
        check_length("gradient", gradient.len(), count)?;
        check_length("first moment", exp_avg.len(), count)?;
        check_length("second moment", exp_avg_sq.len(), count)?;
        check_floats(gradient)?;
        let (value, exp_avg, exp_avg_sq) =
            (FloatsMut::new(value)?, FloatsMut::new(exp_avg)?, FloatsMut::new(exp_avg_sq)?);
        for_ranges(count, PIECE, |range| {
            let mut scratch: [Vec<f32>; 4] = Default::default();
            let [of_value, of_gradient, of_first, of_second] = &mut scratch;
            let Ok(gradient) = gradient.floats(range.clone(), of_gradient) else { return };
            // SAFETY: pieces do not overlap.
            unsafe {
                value.with_range(range.clone(), true, of_value, |value| {
                    exp_avg.with_range(range.clone(), true, of_first, |exp_avg| {
                        exp_avg_sq.with_range(range.clone(), true, of_second, |exp_avg_sq| {
                            dispatch(Adam { value, gradient, exp_avg, exp_avg_sq, factors });
                        });
                    });
                });
            }
        });
        Ok(())
    }

    fn sgd_step(
        &self,
        value: ViewMut<'_>,
        gradient: View<'_>,
        momentum: Option<ViewMut<'_>>,
        factors: SgdFactors,
    ) -> Result<()> {
        let count = value.len();
        check_length("gradient", gradient.len(), count)?;
        if let Some(momentum) = &momentum {
            check_length("momentum", momentum.len(), count)?;
        }
        check_floats(gradient)?;
        let value = FloatsMut::new(value)?;
        let momentum = momentum.map(FloatsMut::new).transpose()?;
        for_ranges(count, PIECE, |range| {
            let mut scratch: [Vec<f32>; 3] = Default::default();
            let [of_value, of_gradient, of_momentum] = &mut scratch;
            let Ok(gradient) = gradient.floats(range.clone(), of_gradient) else { return };
            // SAFETY: pieces do not overlap.
            unsafe {
                value.with_range(range.clone(), true, of_value, |value| match &momentum {
                    None => dispatch(Sgd { value, gradient, momentum: &mut [], factors }),
                    Some(momentum) => momentum.with_range(range.clone(), true, of_momentum, |momentum| {
                        dispatch(Sgd { value, gradient, momentum, factors });
                    }),
                });
            }
        });
        Ok(())
    }

    fn adam_rows(
        &self,
        table: ViewMut<'_>,
        gradients: View<'_>,
        exp_avg: ViewMut<'_>,
        exp_avg_sq: ViewMut<'_>,
        visited: VisitedRows<'_>,
        factors: AdamFactors,
    ) -> Result<()> {
        adam_rows(self, table, gradients, exp_avg, exp_avg_sq, visited, factors)
    }

    fn sgd_rows(
        &self,
        table: ViewMut<'_>,
        gradients: View<'_>,
        momentum: Option<ViewMut<'_>>,
        visited: VisitedRows<'_>,
        factors: SgdFactors,
    ) -> Result<()> {
        sgd_rows(table, gradients, momentum, visited, factors)
    }
}

pub(super) fn check_length(what: &str, actual: usize, expected: usize) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    Err(EngineError::BadOperand(format!("The {what} has {actual} elements; expected {expected}.")))
}

pub(super) fn check_floats(view: View<'_>) -> Result<()> {
    if view.dtype().is_float() {
        return Ok(());
    }
    Err(EngineError::BadOperand(format!("The operand is stored as {:?}; this kernel takes floats.", view.dtype())))
}

#[cfg(test)]
#[path = "optimizers_tests.rs"]
mod tests;
