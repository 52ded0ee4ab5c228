//! Products of matrices, in blocks that fit the caches.
//!
//! Every product is computed as sums over rows of a *left* operand, whose values are broadcast, and columns of a *right* one, which is packed
//! so that its values fill vectors. The right one is the one that is cheaper to pack: where `a` is small and `b` is a transposed weight, the
//! transpose of the product is computed, so that the weight is read once, where it lies. What is summed in which order depends on the
//! shape only, so the bits do not change with the number of threads.
//!
//! Where the CPU has AMX, all but small products are of tiles of bfloat16 instead (`parts_block`), with the same roles of left and right.

mod ahead;
#[cfg(target_arch = "x86_64")]
mod amx;
mod block;
#[cfg(target_arch = "x86_64")]
mod parts;
#[cfg(target_arch = "x86_64")]
mod parts_block;
mod plan;
mod side;
mod target;
mod tile;
mod tiles;
mod tiles_of_halves;

use super::{CpuDevice, column_sums};
use crate::device::Device;
use crate::error::{EngineError, Result};
use crate::memory::{Buffer, Kind, Pool};
use crate::ops::{Arithmetic, Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use crate::simd::{Simd, level};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::{SharedMut, for_ranges};
use block::{Product, compute, pack_right, panel_size, tile_size};
use plan::Plan;
use side::Side;
use std::mem::MaybeUninit;
use std::ops::Range;

impl Gemm for CpuDevice {
    fn gemm(
        &self,
        arithmetic: Arithmetic,
        shape: GemmShape,
        a: Matrix<'_>,
        b: Matrix<'_>,
        c: MatrixMut<'_>,
        accumulate: bool,
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        multiply((level(), arithmetic), self.pool(), shape, a, b, c, accumulate, epilogue)
    }

    fn batched_gemm(
        &self,
        shape: GemmShape,
        batches: Batches<'_>,
        a: Matrix<'_>,
        b: Matrix<'_>,
        c: MatrixMut<'_>,
    ) -> Result<()> {
        multiply_all(level(), shape, batches, a, b, c)
    }

    fn column_sums(&self, rows: usize, columns: usize, x: View<'_>, sums: ViewMut<'_>, accumulate: bool) -> Result<()> {
        column_sums::column_sums(rows, columns, x, sums, accumulate)
    }
}

/// See [`Gemm::gemm`].
fn multiply(
    (level, arithmetic): (Simd, Arithmetic),
    pool: &Pool,
    shape: GemmShape,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: MatrixMut<'_>,
    accumulate: bool,
    epilogue: Epilogue<'_>,
) -> Result<()> {
    let GemmShape { m, n, k } = shape;
    check("result", c.data.len(), m.saturating_mul(n))?;
    check_epilogue(&epilogue, (m, n), accumulate)?;
    let (a, b) = (left_side(a), right_side(b));
    check_side("left operand", &a, m, k)?;
    check_side("right operand", &b, n, k)?;
    let sink = FloatsMut::new(c.data)?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let plan = Plan::new(level, arithmetic, shape, &a, &b, 1);
    let packed = if plan.narrow && k > 0 { Some(pack_all(level, pool, &plan, plan.sides(a, b).1)?) } else { None };
    let packed_right = packed.as_ref().map(|buffer| {
        // SAFETY: `pack_all` filled all of it with floats, and nobody writes there any more.
        unsafe { std::slice::from_raw_parts(buffer.pointer().cast::<f32>(), buffer.bytes() / 4) }
    });
    let product = plan.product(a, b, &sink, 0, packed_right, accumulate, epilogue);
    for_ranges(plan.blocks(), 1, |piece| {
        let (rows, columns) = plan.block(piece.start);
        // SAFETY: blocks are disjoint.
        unsafe { compute_block(level, &plan, &product, rows, columns) }
    });
    Ok(())
}

/// See [`Gemm::batched_gemm`].
fn multiply_all(
    level: Simd,
    shape: GemmShape,
    batches: Batches<'_>,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: MatrixMut<'_>,
) -> Result<()> {
    let GemmShape { m, n, k } = shape;
    let entries = batches.left.len();
    if batches.right.len() != entries {
        let reason = format!("gemm: {entries} left matrices are to meet {} right ones.", batches.right.len());
        return Err(EngineError::BadOperand(reason));
    }
    check("result", c.data.len(), entries.saturating_mul(m).saturating_mul(n))?;
    let sink = FloatsMut::new(c.data)?;
    let (a, b) = (left_side(a), right_side(b));
    let parts: Vec<_> = batches
        .left
        .iter()
        .zip(batches.right)
        .map(|(&left, &right)| {
            let a = part("left operand", &a, left, batches.left_stride, (m, k))?;
            Ok((a, part("right operand", &b, right, batches.right_stride, (n, k))?))
        })
        .collect::<Result<_>>()?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let plan = Plan::new(level, Arithmetic::Float32, shape, &a, &b, entries);
    for_ranges(entries * plan.blocks(), 1, |piece| {
        let entry = piece.start / plan.blocks();
        let (a, b) = parts[entry];
        let product = plan.product(a, b, &sink, entry * m * n, None, false, Epilogue::default());
        let (rows, columns) = plan.block(piece.start % plan.blocks());
        // SAFETY: blocks are disjoint.
        unsafe { compute_block(level, &plan, &product, rows, columns) }
    });
    Ok(())
}

/// One block.
///
/// # Safety
/// As for [`compute`].
unsafe fn compute_block(level: Simd, plan: &Plan, product: &Product<'_>, rows: Range<usize>, columns: Range<usize>) {
    match plan.tiled {
        // SAFETY: by the caller's promise; the plan is tiled only at the level that has tiles.
        #[cfg(target_arch = "x86_64")]
        Some(arithmetic) => unsafe { parts_block::compute(arithmetic, product, rows, columns) },
        // SAFETY: as above.
        _ => unsafe { compute(level, product, rows, columns) },
    }
}

fn left_side(a: Matrix<'_>) -> Side<'_> {
    Side { view: a.data, across: a.row_stride, along: a.column_stride }
}

fn right_side(b: Matrix<'_>) -> Side<'_> {
    Side { view: b.data, across: b.column_stride, along: b.row_stride }
}

/// All of `right` in panels, step after step.
fn pack_all(level: Simd, pool: &Pool, plan: &Plan, right: Side<'_>) -> Result<Buffer> {
    let Plan { columns, depth, depth_step, .. } = *plan;
    let width = tile_size(level).1;
    let (steps, panels) = (depth.div_ceil(depth_step), columns.div_ceil(width));
    let size = panel_size(depth_step, width);
    let len = steps * panels * size;
    let buffer = pool.allocate(len * 4, Kind::Scratch)?;
    let pointer = buffer.pointer().cast::<MaybeUninit<f32>>();
    // SAFETY: the buffer is ours and has room for so many floats, which need not be there yet.
    let packed = SharedMut::new(unsafe { std::slice::from_raw_parts_mut(pointer, len) });
    for_ranges(steps * panels, 1, |piece| {
        let (step, first) = (piece.start / panels, piece.start % panels * width);
        let depths = step * depth_step..((step + 1) * depth_step).min(depth);
        // SAFETY: each piece has a panel of its own.
        let panel = unsafe { packed.range(piece.start * size..(piece.start + 1) * size) };
        // A panel is longer than what is packed into it: by a row, and in the last step by what the depth lacks. It is in the nearest cache
        // afterwards, where packing goes on.
        panel.fill(MaybeUninit::new(0.0));
        // SAFETY: every element was just written.
        let panel = unsafe { std::slice::from_raw_parts_mut(panel.as_mut_ptr().cast::<f32>(), panel.len()) };
        pack_right(level, right, first..(first + width).min(columns), depths, panel);
    });
    Ok(buffer)
}

fn check_epilogue(epilogue: &Epilogue<'_>, (m, n): (usize, usize), accumulate: bool) -> Result<()> {
    let Epilogue { bias, residual, gelu } = epilogue;
    for (what, view, len) in [("bias", bias, n), ("residual", residual, m * n)] {
        if let Some(view) = view {
            check(what, view.len(), len)?;
            view.floats(0..0, &mut Vec::new())?;
        }
    }
    if accumulate && (bias.is_some() || residual.is_some() || *gelu) {
        return Err(EngineError::BadOperand("gemm: a product that is accumulated has no epilogue.".into()));
    }
    Ok(())
}

/// Matrix `index` of a stack.
fn part<'a>(
    what: &str,
    stack: &Side<'a>,
    index: i32,
    stride: usize,
    (across, depth): (usize, usize),
) -> Result<Side<'a>> {
    let from = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(stride);
    let len = stack.needed(across, depth);
    check(what, stack.view.len(), from.saturating_add(len))?;
    let part = Side { view: stack.view.part(from, len), ..*stack };
    check_side(what, &part, across, depth)?;
    Ok(part)
}

fn check_side(what: &str, side: &Side<'_>, across: usize, depth: usize) -> Result<()> {
    check(what, side.view.len(), side.needed(across, depth))?;
    side.view.floats(0..0, &mut Vec::new()).map(|_| ())
}

fn check(what: &str, actual: usize, expected: usize) -> Result<()> {
    if actual >= expected {
        return Ok(());
    }
    Err(EngineError::BadOperand(format!("gemm: the {what} has {actual} elements; the shape needs {expected}.")))
}

#[cfg(test)]
mod tests;
