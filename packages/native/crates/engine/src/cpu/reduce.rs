//! Reductions of floats and integers, and what runs along rows.

use super::CpuDevice;
use super::rows::{Floats, expect_len, row_count, rows_per_piece};
use crate::error::Result;
use crate::ops::{Cumulation, Reduce, ReduceShape, Reduction};
use crate::simd::dispatch_fma;
use crate::storage::{DType, FloatsMut, View, ViewMut};
use crate::threads::{SharedMut, for_ranges};

mod floats;
mod integers;
mod scans;

impl Reduce for CpuDevice {
    fn reduce(
        &self,
        reduction: Reduction,
        shape: ReduceShape,
        factor: f64,
        x: View<'_>,
        output: ViewMut<'_>,
    ) -> Result<()> {
        let ReduceShape { outer, reduced, inner } = shape;
        expect_len("reduce", "x", x.len(), outer * reduced * inner)?;
        expect_len("reduce", "output", output.len(), outer * inner)?;
        if !x.dtype().is_float() {
            return integers::reduce(reduction, shape, x, output);
        }
        let (x, output) = (Floats::new(x)?, FloatsMut::new(output)?);
        match reduction {
            Reduction::Sum => floats::reduce::<floats::Sum>(shape, factor, x, &output),
            Reduction::Max => floats::reduce::<floats::Max>(shape, factor, x, &output),
            Reduction::Min => floats::reduce::<floats::Min>(shape, factor, x, &output),
            Reduction::Product => floats::reduce::<floats::Product>(shape, factor, x, &output),
        }
        Ok(())
    }

    fn arg_reduce(&self, largest: bool, width: usize, x: View<'_>, mut output: ViewMut<'_>) -> Result<()> {
        let rows = row_count("arg_reduce", x.len(), width)?;
        expect_len("arg_reduce", "output", output.len(), rows)?;
        let output = output.slice::<i32>()?;
        if x.dtype() == DType::I32 {
            let rows = x.slice::<i32>()?.chunks(width.max(1));
            rows.zip(output).for_each(|(row, at)| *at = scans::first_extreme(row, largest));
            return Ok(());
        }
        let (x, output) = (Floats::new(x)?, SharedMut::new(output));
        for_ranges(rows, rows_per_piece(width), |range| {
            let mut scratch = Vec::new();
            for row in range {
                let index =
                    dispatch_fma(scans::ArgExtreme(x.range(row * width..(row + 1) * width, &mut scratch), largest));
                // SAFETY: each row has an element of its own.
                unsafe { output.range(row..row + 1)[0] = index }
            }
        });
        Ok(())
    }

    fn cumulative_sum(&self, width: usize, cumulation: Cumulation, x: View<'_>, output: ViewMut<'_>) -> Result<()> {
        let rows = row_count("cumulative_sum", x.len(), width)?;
        expect_len("cumulative_sum", "output", output.len(), x.len())?;
        if !x.dtype().is_float() {
            return integers::cumulative_sum(width, cumulation, x, output);
        }
        let (x, output) = (Floats::new(x)?, FloatsMut::new(output)?);
        for_ranges(rows, rows_per_piece(width), |range| {
            let (mut x_scratch, mut y_scratch) = (Vec::new(), Vec::new());
            for row in range {
                let elements = row * width..(row + 1) * width;
                let x = x.range(elements.clone(), &mut x_scratch);
                let scan = |y: &mut [f32]| scans::cumulate(x, y, cumulation, 0.0, |sum, x| sum + x);
                // SAFETY: rows do not overlap.
                unsafe { output.with_range(elements, false, &mut y_scratch, scan) }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
