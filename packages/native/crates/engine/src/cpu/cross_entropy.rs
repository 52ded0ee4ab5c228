//! Cross-entropy: one pass over the logits forward, and one backward, which can overwrite them.

use super::CpuDevice;
use super::log_sum_exp::exponentials;
use super::math::exp;
use super::rows::{Floats, Tiles, blocks, expect_len};
use crate::error::{EngineError, Result};
use crate::ops::{CrossEntropy, Logits, Targets};
use crate::simd::{FmaKernel, dispatch_fma};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;

impl CrossEntropy for CpuDevice {
    fn cross_entropy(
        &self,
        logits: View<'_>,
        targets: Targets<'_>,
        mut loss: ViewMut<'_>,
        mut log_sum_exp: ViewMut<'_>,
    ) -> Result<()> {
        let (labels, classes) = labels_of(&targets, logits.len())?;
        expect_len("cross_entropy", "loss", loss.len(), 1)?;
        expect_len("cross_entropy", "log_sum_exp", log_sum_exp.len(), labels.len())?;
        let logits = Floats::new(logits)?;
        let sums = exponentials(labels.len(), classes, logits, |row| labels[row] != targets.ignore_index);
        let mut total = 0.0;
        let mut scratch = Vec::new();
        let log_sum_exp = log_sum_exp.slice::<f32>()?;
        for (row, (&label, sum)) in labels.iter().zip(sums).enumerate() {
            log_sum_exp[row] = sum.logarithm();
            if label != targets.ignore_index {
                let at = row * classes + label as usize;
                let logit = logits.range(at..at + 1, &mut scratch)[0];
                total += sum.sum.ln() + (f64::from(sum.max) - f64::from(logit));
            }
        }
        loss.slice::<f32>()?[0] = (total / f64::from(targets.items.max(1.0))) as f32;
        Ok(())
    }

    fn cross_entropy_grad(
        &self,
        output_gradient: View<'_>,
        logits: Logits<'_>,
        targets: Targets<'_>,
        log_sum_exp: View<'_>,
        gradient: ViewMut<'_>,
    ) -> Result<()> {
        let (labels, classes) = labels_of(&targets, gradient.len())?;
        expect_len("cross_entropy_grad", "output_gradient", output_gradient.len(), 1)?;
        expect_len("cross_entropy_grad", "log_sum_exp", log_sum_exp.len(), labels.len())?;
        let logits = match logits {
            Logits::Apart(logits) => {
                expect_len("cross_entropy_grad", "logits", logits.len(), gradient.len())?;
                Some(Floats::new(logits)?)
            }
            Logits::InGradient => None,
        };
        let log_sum_exp = log_sum_exp.slice::<f32>()?;
        let weight = output_gradient.floats(0..1, &mut Vec::new())?[0] / targets.items.max(1.0);
        let gradient = FloatsMut::new(gradient)?;
        let tiles = Tiles::new(labels.len(), classes);
        for_ranges(tiles.count, tiles.grain, |range| {
            let (mut logits_scratch, mut gradient_scratch) = (Vec::new(), Vec::new());
            for (row, elements) in range.map(|tile| tiles.get(tile)) {
                let counts = labels[row] != targets.ignore_index;
                for block in blocks(elements, 1) {
                    let logits = logits.filter(|_| counts).map(|x| x.range(block.clone(), &mut logits_scratch));
                    let label = (row * classes).checked_add_signed(labels[row] as isize).filter(|_| counts);
                    let label = label.filter(|label| block.contains(label)).map(|label| label - block.start);
                    let kernel = |gradient: &mut [f32]| {
                        if counts {
                            dispatch_fma(Block { logits, gradient, log_sum_exp: log_sum_exp[row], weight, label });
                        } else {
                            gradient.fill(0.0);
                        }
                    };
                    let keeps = counts && logits.is_none();
                    // SAFETY: blocks do not overlap.
                    unsafe { gradient.with_range(block, keeps, &mut gradient_scratch, kernel) }
                }
            }
        });
        Ok(())
    }
}

/// The labels, checked, and the number of classes.
fn labels_of<'a>(targets: &Targets<'a>, logits: usize) -> Result<(&'a [i32], usize)> {
    let labels = targets.labels.slice::<i32>()?;
    let classes = logits.checked_div(labels.len()).unwrap_or(0);
    expect_len("cross_entropy", "logits", logits, labels.len() * classes)?;
    let wrong =
        |&&label: &&i32| label != targets.ignore_index && !usize::try_from(label).is_ok_and(|label| label < classes);
    if let Some(label) = labels.iter().find(wrong) {
        return Err(EngineError::BadOperand(format!(
            "cross_entropy: label {label} is out of range; there are {classes} classes, and {} is ignored.",
            targets.ignore_index
        )));
    }
    Ok((labels, classes))
}

/// A part of a row that counts.
struct Block<'a> {
    /// None if they are in `gradient`.
    logits: Option<&'a [f32]>,
    gradient: &'a mut [f32],
    log_sum_exp: f32,
    weight: f32,
    /// Where the row's class is, if it is in this part.
    label: Option<usize>,
}

impl FmaKernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { logits, gradient, log_sum_exp, weight, label } = self;
        let at_label = label.map(|at| (at, logits.map_or(gradient[at], |logits| logits[at])));
        match logits {
            Some(logits) => {
                gradient.iter_mut().zip(logits).for_each(|(g, &x)| *g = exp::<FMA>(x - log_sum_exp) * weight);
            }
            None => gradient.iter_mut().for_each(|g| *g = exp::<FMA>(*g - log_sum_exp) * weight),
        }
        if let Some((at, logit)) = at_label {
            gradient[at] = (exp::<FMA>(logit - log_sum_exp) - 1.0) * weight;
        }
    }
}

#[cfg(test)]
mod tests;
