//! Where a product goes, and what is done to it before it is stored.

use crate::cpu::math::sigmoid;
use crate::ops::Epilogue;
use crate::storage::{FloatsMut, View};
use std::ops::Range;

/// The result of a product.
pub struct Target<'a> {
    pub sink: FloatsMut<'a>,
    /// Columns of the result as the caller sees it.
    pub columns: usize,
    /// Whether our rows are the caller's columns.
    pub transposed: bool,
    pub accumulate: bool,
    pub epilogue: Epilogue<'a>,
}

/// sqrt(2 / pi) as BLOOM rounds it, and the factor of x³.
const SLOPE: f32 = 0.797_884_56;
const CUBIC: f32 = 0.044_715;

impl Target<'_> {
    /// Where the innermost loop can put its sums itself.
    pub fn in_place(&self) -> Option<*mut f32> {
        if self.transposed { None } else { self.sink.f32_pointer() }
    }

    /// Finishes what the innermost loop put in place.
    ///
    /// # Safety
    /// No other thread uses these elements.
    #[inline(always)]
    pub unsafe fn finish_in_place<const FMA: bool>(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        scratch: &mut Lines,
    ) {
        let Epilogue { bias, residual, gelu } = self.epilogue;
        if bias.is_none() && residual.is_none() && !gelu {
            return;
        }
        for row in rows.clone() {
            let from = row * self.columns;
            let Lines { line, operand } = scratch;
            // SAFETY: by the caller's promise.
            unsafe {
                self.sink.with_range(from + columns.start..from + columns.end, true, line, |values| {
                    self.apply::<FMA>(values, from, columns, operand);
                });
            }
        }
    }

    /// Stores a block of sums, rows `stride` apart: rows `rows` and columns `columns` of the product.
    ///
    /// # Safety
    /// No other thread uses these elements.
    #[inline(always)]
    pub unsafe fn finish<const FMA: bool>(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        sums: &[f32],
        stride: usize,
        scratch: &mut Lines,
    ) {
        let (outer, inner) = if self.transposed { (columns, rows) } else { (rows, columns) };
        for (index, row) in outer.clone().enumerate() {
            let from = row * self.columns;
            let Lines { line, operand } = scratch;
            // SAFETY: by the caller's promise.
            unsafe {
                self.sink.with_range(from + inner.start..from + inner.end, self.accumulate, line, |values| {
                    if self.transposed {
                        take(values, sums.iter().skip(index).step_by(stride), self.accumulate);
                    } else {
                        take(values, sums[index * stride..].iter(), self.accumulate);
                    }
                    self.apply::<FMA>(values, from, inner, operand);
                });
            }
        }
    }

    /// Bias, activation, residual, in this order.
    #[inline(always)]
    fn apply<const FMA: bool>(&self, values: &mut [f32], row: usize, columns: &Range<usize>, operand: &mut Vec<f32>) {
        let Epilogue { bias, residual, gelu } = self.epilogue;
        if let Some(bias) = bias {
            add(values, bias, columns.clone(), operand);
        }
        if gelu {
            for x in &mut *values {
                *x *= sigmoid::<FMA>(*x * (2.0 * SLOPE * CUBIC * *x * *x + 2.0 * SLOPE));
            }
        }
        if let Some(residual) = residual {
            add(values, residual, row + columns.start..row + columns.end, operand);
        }
    }
}

/// Room for the values of one row.
#[derive(Default)]
pub struct Lines {
    line: Vec<f32>,
    operand: Vec<f32>,
}

#[inline(always)]
fn take<'s>(values: &mut [f32], sums: impl Iterator<Item = &'s f32>, accumulate: bool) {
    if accumulate {
        values.iter_mut().zip(sums).for_each(|(value, sum)| *value += sum);
    } else {
        values.iter_mut().zip(sums).for_each(|(value, sum)| *value = *sum);
    }
}

#[inline(always)]
fn add(values: &mut [f32], from: View<'_>, range: Range<usize>, scratch: &mut Vec<f32>) {
    // That they are floats was checked before.
    let Ok(addends) = from.floats(range, scratch) else { return };
    values.iter_mut().zip(addends).for_each(|(value, addend)| *value += addend);
}
