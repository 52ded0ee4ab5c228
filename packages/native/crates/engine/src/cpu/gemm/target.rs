//! Where a product goes, and what is done to it before it is stored.

use super::side::transpose;
use crate::cpu::gelu as activate;
use crate::ops::Epilogue;
use crate::storage::{FloatsMut, View};
use std::ops::Range;

/// The result of a product.
pub struct Target<'a> {
    pub sink: &'a FloatsMut<'a>,
    /// Elements before the first one.
    pub from: usize,
    /// Columns of the result as the caller sees it.
    pub columns: usize,
    /// Whether our rows are the caller's columns.
    pub transposed: bool,
    pub accumulate: bool,
    pub epilogue: Epilogue<'a>,
}

impl Target<'_> {
    /// Where the innermost loop can put its sums itself.
    pub fn in_place(&self) -> Option<*mut f32> {
        // SAFETY: within the result.
        let begin = |pointer: *mut f32| unsafe { pointer.add(self.from) };
        if self.transposed { None } else { self.sink.f32_pointer().map(begin) }
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
        let Lines { line, operand, .. } = scratch;
        for row in rows.clone() {
            let from = row * self.columns;
            let range = self.from + from + columns.start..self.from + from + columns.end;
            // SAFETY: by the caller's promise.
            unsafe {
                let values = self.sink.open(range.clone(), true, line);
                self.apply::<FMA>(values, from, columns, operand);
                self.sink.close(range, line);
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
        let Lines { line, operand, turned } = scratch;
        if self.transposed {
            turn(sums, stride, (rows.len(), columns.len()), turned);
        }
        for (index, row) in outer.clone().enumerate() {
            let from = row * self.columns;
            let range = self.from + from + inner.start..self.from + from + inner.end;
            // SAFETY: by the caller's promise.
            unsafe {
                let values = self.sink.open(range.clone(), self.accumulate, line);
                if self.transposed {
                    for (group, values) in values.chunks_mut(TURNED).enumerate() {
                        take(values, &turned[(group * outer.len() + index) * TURNED..], self.accumulate);
                    }
                } else {
                    take(values, &sums[index * stride..], self.accumulate);
                }
                self.apply::<FMA>(values, from, inner, operand);
                self.sink.close(range, line);
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
                *x = activate::<FMA>(*x);
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
    /// A block of sums with rows and columns exchanged.
    turned: Vec<f32>,
}

/// Rows that are exchanged with columns at once.
const TURNED: usize = 8;

/// Groups of [`TURNED`] rows of `sums`, each with its values of one column together.
#[inline(always)]
fn turn(sums: &[f32], stride: usize, (rows, columns): (usize, usize), turned: &mut Vec<f32>) {
    turned.resize(rows.div_ceil(TURNED) * columns * TURNED, 0.0);
    for (group, to) in turned.chunks_mut(columns * TURNED).take(rows.div_ceil(TURNED)).enumerate() {
        // Rows beyond the last are read from it; nobody looks at them.
        let starts = std::array::from_fn(|i| sums[(group * TURNED + i).min(rows - 1) * stride..][..columns].as_ptr());
        transpose::<TURNED>(&starts, 1, columns, to);
    }
}

#[inline(always)]
fn take(values: &mut [f32], sums: &[f32], accumulate: bool) {
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
