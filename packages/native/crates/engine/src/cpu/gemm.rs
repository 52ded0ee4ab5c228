//! Products of matrices, in blocks that fit the caches.
//!
//! Every product is computed as sums over rows of a *left* operand, whose values are broadcast, and columns of a *right* one, which is packed
//! so that its values fill vectors. The right one is the one that is cheaper to pack: where `a` is small and `b` is a transposed weight, the
//! transpose of the product is computed, so that the weight is read once, where it lies. What is summed in which order depends on the
//! shape only, so the bits do not change with the number of threads.

mod block;
mod side;
mod target;
mod tile;

use super::{CpuDevice, column_sums};
use crate::device::Device;
use crate::error::{EngineError, Result};
use crate::memory::{Kind, Pool};
use crate::ops::{Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use crate::simd::{Simd, level};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::{SharedMut, for_ranges, thread_count};
use block::{Product, compute, pack_right, tile_size};
use side::Side;

use target::Target;

/// Up to so many columns (or rows) the other operand is read where it lies: it is not used often enough for copies to pay.
const NARROW: usize = 128;
/// Depth that is summed in registers: a panel of the right operand of this depth fits the first cache.
const DEPTH: usize = 256;
/// Rows of a block of the left operand, which fits the second cache.
const ROWS: usize = 192;
/// Columns of a block.
const COLUMNS: usize = 512;
/// Columns of the right operand that are packed at once.
const GROUP: usize = 128;
/// Up to this depth results are written row after row: they are what most time goes to.
const SHALLOW: usize = 128;

impl Gemm for CpuDevice {
    fn gemm(
        &self,
        shape: GemmShape,
        a: Matrix<'_>,
        b: Matrix<'_>,
        c: MatrixMut<'_>,
        accumulate: bool,
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        multiply(level(), self.pool(), shape, a, b, c, accumulate, epilogue)
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

/// See [`Gemm::gemm`].
fn multiply(
    level: Simd,
    pool: &Pool,
    shape: GemmShape,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: MatrixMut<'_>,
    accumulate: bool,
    epilogue: Epilogue<'_>,
) -> Result<()> {
    let GemmShape { m, n, k } = shape;
    check("result", c.data.len(), m * n)?;
    let sink = FloatsMut::new(c.data)?;
    let a = Side { view: a.data, across: a.row_stride, along: a.column_stride };
    let b = Side { view: b.data, across: b.column_stride, along: b.row_stride };
    check("left operand", a.view.len(), a.needed(m, k))?;
    check("right operand", b.view.len(), b.needed(n, k))?;
    check_epilogue(&epilogue, (m, n), accumulate)?;
    for view in [Some(a.view), Some(b.view), epilogue.bias, epilogue.residual].into_iter().flatten() {
        view.floats(0..0, &mut Vec::new())?;
    }
    if m == 0 || n == 0 {
        return Ok(());
    }

    let transposed = m <= NARROW && m < n && b.along == 1;
    let (left, right) = if transposed { (b, a) } else { (a, b) };
    let (rows, columns) = if transposed { (n, m) } else { (m, n) };
    let narrow = columns <= NARROW && columns < rows && left.along == 1;
    let target = Target { sink, columns: n, transposed, accumulate, epilogue };
    let depth_step = even_step(k, DEPTH, 1);
    let (tile_rows, tile_columns) = tile_size(level);

    let packed = if narrow && k > 0 { Some(pack_all(level, pool, right, columns, k, depth_step)?) } else { None };
    // SAFETY: it was filled with so many floats.
    let packed_right = packed
        .as_ref()
        .map(|buffer| unsafe { View::from_raw(buffer.pointer(), buffer.bytes() / 4, crate::DType::F32) });
    let shallow = k <= SHALLOW;
    let product = Product {
        depth: k,
        left,
        right,
        target,
        depth_step,
        left_in_place: narrow,
        packed_right: packed_right.as_ref().and_then(|view| view.slice().ok()),
        group: if shallow { COLUMNS } else { GROUP },
        by_rows: shallow,
    };
    let (block_rows, block_columns) = block_size(rows, columns, (tile_rows, tile_columns), narrow);
    let across = columns.div_ceil(block_columns);
    for_ranges(rows.div_ceil(block_rows) * across, 1, |piece| {
        let (row, column) = (piece.start / across * block_rows, piece.start % across * block_columns);
        let (rows, columns) = (row..(row + block_rows).min(rows), column..(column + block_columns).min(columns));
        // SAFETY: blocks are disjoint.
        unsafe { compute(level, &product, rows, columns) }
    });
    Ok(())
}

/// All of `right` in panels, step after step.
fn pack_all(
    level: Simd,
    pool: &Pool,
    right: Side<'_>,
    columns: usize,
    depth: usize,
    depth_step: usize,
) -> Result<crate::memory::Buffer> {
    let width = tile_size(level).1;
    let padded = columns.next_multiple_of(width);
    let buffer = pool.allocate(padded * depth * 4, Kind::Scratch)?;
    // SAFETY: the buffer is ours and has so many floats.
    let packed =
        SharedMut::new(unsafe { std::slice::from_raw_parts_mut(buffer.pointer().cast::<f32>(), padded * depth) });
    let panels = padded / width;
    for_ranges(depth.div_ceil(depth_step) * panels, 1, |piece| {
        let (step, first) = (piece.start / panels, piece.start % panels * width);
        let depths = step * depth_step..((step + 1) * depth_step).min(depth);
        let from = padded * depths.start + first * depths.len();
        // SAFETY: each piece has a panel of its own.
        let panel = unsafe { packed.range(from..from + width * depths.len()) };
        pack_right(level, right, first..(first + width).min(columns), depths, panel);
    });
    Ok(buffer)
}

/// Rows and columns of a block: multiples of the tile's, about even, and several blocks for each thread. Bits do not depend on them.
fn block_size(rows: usize, columns: usize, (tile_rows, tile_columns): (usize, usize), narrow: bool) -> (usize, usize) {
    let wanted = if thread_count() > 1 { 4 * thread_count() } else { 1 };
    let mut limits = if narrow { (ROWS / 2, columns) } else { (ROWS, COLUMNS) };
    loop {
        let size = (even_step(rows, limits.0, tile_rows), even_step(columns, limits.1, tile_columns));
        let enough = rows.div_ceil(size.0) * columns.div_ceil(size.1) >= wanted;
        if enough || narrow && limits.0 <= 4 * tile_rows || !narrow && limits.1 <= 4 * tile_columns {
            return size;
        }
        if narrow { limits.0 /= 2 } else { limits.1 /= 2 }
    }
}

/// The step that cuts `length` into as few parts as `limit` allows, of about the same length, which is a multiple of `unit`.
fn even_step(length: usize, limit: usize, unit: usize) -> usize {
    let parts = length.div_ceil(limit).max(1);
    length.div_ceil(parts).next_multiple_of(unit).max(unit)
}

fn check_epilogue(epilogue: &Epilogue<'_>, (m, n): (usize, usize), accumulate: bool) -> Result<()> {
    let Epilogue { bias, residual, gelu } = epilogue;
    if let Some(bias) = bias {
        check("bias", bias.len(), n)?;
    }
    if let Some(residual) = residual {
        check("residual", residual.len(), m * n)?;
    }
    if accumulate && (bias.is_some() || residual.is_some() || *gelu) {
        return Err(EngineError::BadOperand("gemm: a product that is accumulated has no epilogue.".into()));
    }
    Ok(())
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

#[cfg(test)]
mod tests;
