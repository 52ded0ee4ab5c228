//! Products of matrices by the crate `gemm`.

use super::{CpuDevice, column_sums};
use crate::error::{EngineError, Result};
use crate::ops::{Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use crate::storage::{View, ViewMut};
use crate::threads::thread_count;

impl Gemm for CpuDevice {
    fn gemm(
        &self,
        shape: GemmShape,
        a: Matrix<'_>,
        b: Matrix<'_>,
        mut c: MatrixMut<'_>,
        accumulate: bool,
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        let GemmShape { m, n, k } = shape;
        check("left operand", a.data.len(), needed(m, k, a.row_stride, a.column_stride))?;
        check("right operand", b.data.len(), needed(k, n, b.row_stride, b.column_stride))?;
        check("result", c.data.len(), m * n)?;
        let (left, right) = (a.data.slice::<f32>()?, b.data.slice::<f32>()?);
        let result = c.data.slice::<f32>()?;
        let bias = epilogue.bias.map(|bias| bias.slice::<f32>()).transpose()?;
        if let Some(bias) = bias {
            check("bias", bias.len(), n)?;
            result.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(bias));
        }
        let threads = thread_count();
        let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
        // SAFETY: all three have the lengths that shape and strides need, checked above; views of results are exclusive.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                result.as_mut_ptr(),
                1,
                n as isize,
                accumulate || bias.is_some(),
                left.as_ptr(),
                a.column_stride as isize,
                a.row_stride as isize,
                right.as_ptr(),
                b.column_stride as isize,
                b.row_stride as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
        Ok(())
    }

    fn batched_gemm(
        &self,
        shape: GemmShape,
        batches: Batches<'_>,
        a: Matrix<'_>,
        b: Matrix<'_>,
        mut c: MatrixMut<'_>,
    ) -> Result<()> {
        let GemmShape { m, n, k } = shape;
        for (i, (&left, &right)) in batches.left.iter().zip(batches.right).enumerate() {
            let a_part = part("left operand", a, left, batches.left_stride, (m, k))?;
            let b_part = part("right operand", b, right, batches.right_stride, (k, n))?;
            check("result", c.data.len(), (i + 1) * m * n)?;
            let c_part = MatrixMut { data: c.data.part_mut(i * m * n, m * n) };
            self.gemm(shape, a_part, b_part, c_part, false, Epilogue::default())?;
        }
        Ok(())
    }

    fn column_sums(&self, rows: usize, columns: usize, x: View<'_>, sums: ViewMut<'_>, accumulate: bool) -> Result<()> {
        column_sums::column_sums(rows, columns, x, sums, accumulate)
    }
}

/// Matrix `index` of a stack.
fn part<'a>(
    what: &str,
    stack: Matrix<'a>,
    index: i32,
    stride: usize,
    (rows, columns): (usize, usize),
) -> Result<Matrix<'a>> {
    let from = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(stride);
    let len = needed(rows, columns, stack.row_stride, stack.column_stride);
    check(what, stack.data.len(), from.saturating_add(len))?;
    Ok(Matrix { data: stack.data.part(from, len), ..stack })
}

/// Elements that a matrix of these strides reaches over.
fn needed(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + (columns - 1) * column_stride + 1 }
}

fn check(what: &str, actual: usize, expected: usize) -> Result<()> {
    if actual >= expected {
        return Ok(());
    }
    Err(EngineError::BadOperand(format!("gemm: the {what} has {actual} elements; the shape needs {expected}.")))
}
