//! Kernels that move elements.

use super::CpuDevice;
use super::elementwise::{GRAIN, expect_lengths};
use super::strided::{Axis, plan};
use crate::error::{EngineError, Result};
use crate::ops::{GatherShape, Movement, Region, Strided};
use crate::storage::{DType, Element, View, ViewMut, bf16, f16};
use crate::threads::{SharedMut, for_ranges};
use std::ops::Range;

/// Rows and columns that are transposed at a time: lines of float32.
const TILE: usize = 16;
/// Rows and columns of such tiles that are done one after the other.
const BLOCK: usize = 4 * TILE;

/// Calls a generic function with the type of elements, whatever it is.
macro_rules! with_element {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $type = f32;
                $body
            }
            DType::F16 => {
                type $type = f16;
                $body
            }
            DType::BF16 => {
                type $type = bf16;
                $body
            }
            DType::I32 => {
                type $type = i32;
                $body
            }
            DType::Bool => {
                type $type = u8;
                $body
            }
        }
    };
}

impl Movement for CpuDevice {
    fn copy(&self, x: View<'_>, from: Strided<'_>, mut out: ViewMut<'_>, to: Region<'_>) -> Result<()> {
        let (axes, offset) = plan(from, to, x.len(), out.len())?;
        let starts = [from.offset, offset];
        with_element!(x.dtype(), T => copy_strided(x.slice::<T>()?, out.slice::<T>()?, &axes, starts));
        Ok(())
    }

    fn join(&self, rows: usize, parts: &[View<'_>], mut out: ViewMut<'_>) -> Result<()> {
        expect_lengths(out.len(), &[parts.iter().map(View::len).sum()])?;
        if out.is_empty() {
            return Ok(());
        }
        with_element!(out.dtype(), T => {
            let parts = parts.iter().map(View::slice::<T>).collect::<Result<Vec<_>>>()?;
            if rows == 0 || parts.iter().any(|part| part.len() % rows != 0) {
                return Err(EngineError::BadOperand(format!("The parts do not have {rows} rows.")));
            }
            let width = out.len() / rows;
            let out = out.slice::<T>()?;
            if rows == 1 {
                join_long(&parts, out);
                return Ok(());
            }
            let shared = SharedMut::new(out);
            for_ranges(rows, GRAIN / width, |piece| {
                for row in piece {
                    // SAFETY: rows are disjoint.
                    let mut to = unsafe { shared.range(row * width..(row + 1) * width) };
                    for part in &parts {
                        let len = part.len() / rows;
                        let (now, later) = to.split_at_mut(len);
                        now.copy_from_slice(&part[row * len..(row + 1) * len]);
                        to = later;
                    }
                }
            });
        });
        Ok(())
    }

    fn gather(&self, shape: GatherShape, x: View<'_>, indices: View<'_>, mut out: ViewMut<'_>) -> Result<()> {
        let GatherShape { batches, outer, axis, inner, count } = shape;
        expect_lengths(batches * outer * axis * inner, &[x.len()])?;
        expect_lengths(batches * count, &[indices.len()])?;
        expect_lengths(batches * outer * count * inner, &[out.len()])?;
        let indices = indices.slice::<i32>()?;
        if let Some(index) = indices.iter().find(|&&index| index < 0 || index as usize >= axis) {
            return Err(EngineError::BadOperand(format!(
                "GatherV2: the index value {index} is not in [0, {}]",
                axis as isize - 1
            )));
        }
        if out.is_empty() {
            return Ok(());
        }
        with_element!(x.dtype(), T => {
            let (x, shared) = (x.slice::<T>()?, SharedMut::new(out.slice::<T>()?));
            for_ranges(batches * outer * count, GRAIN / inner, |piece| {
                for row in piece {
                    let (place, group) = (row % count, row / count);
                    let index = indices[group / outer * count + place] as usize;
                    let from = (group * axis + index) * inner;
                    // SAFETY: rows are disjoint.
                    let to = unsafe { shared.range(row * inner..(row + 1) * inner) };
                    to.copy_from_slice(&x[from..from + inner]);
                }
            });
        });
        Ok(())
    }
}

/// Puts parts one behind the other.
fn join_long<T: Element>(parts: &[&[T]], mut out: &mut [T]) {
    for part in parts {
        let (now, later) = out.split_at_mut(part.len());
        let to = SharedMut::new(now);
        // SAFETY: pieces are disjoint.
        for_ranges(part.len(), GRAIN, |piece| unsafe { to.range(piece.clone()) }.copy_from_slice(&part[piece]));
        out = later;
    }
}

fn copy_strided<T: Element>(x: &[T], out: &mut [T], axes: &[Axis], starts: [usize; 2]) {
    let Some((inner, outer)) = axes.split_last() else { return };
    let to = SharedMut::new(out);
    // A result of one long row of neighbours.
    if outer.is_empty() && inner.steps == [1, 1] {
        for_ranges(inner.len, GRAIN, |piece| {
            let from = &x[starts[0] + piece.start..starts[0] + piece.end];
            // SAFETY: pieces are disjoint.
            unsafe { to.range(starts[1] + piece.start..starts[1] + piece.end) }.copy_from_slice(from);
        });
        return;
    }
    // Along one axis the operand's elements are neighbours, along another the result's.
    if inner.steps[0] != 1
        && inner.steps[0] != 0
        && let Some(across) = outer.iter().position(|axis| axis.steps[0] == 1)
    {
        let others: Vec<Axis> = outer.iter().enumerate().filter(|(i, _)| *i != across).map(|(_, axis)| *axis).collect();
        let blocks = outer[across].len.div_ceil(BLOCK);
        let units = others.iter().map(|axis| axis.len).product::<usize>() * blocks;
        for_ranges(units, GRAIN / (BLOCK * inner.len), |piece| {
            for unit in piece {
                let rows = unit % blocks * BLOCK..(unit % blocks * BLOCK + BLOCK).min(outer[across].len);
                transpose(x, &to, offsets(&others, unit / blocks, starts), outer[across], rows, *inner);
            }
        });
        return;
    }
    let rows = outer.iter().map(|axis| axis.len).product();
    for_ranges(rows, GRAIN / inner.len, |piece| {
        for row in piece {
            let [from, at] = offsets(outer, row, starts);
            // SAFETY: rows of the result are disjoint, since no two elements of it have the same place.
            let to = unsafe { to.range(at as usize..at as usize + inner.len) };
            match inner.steps[0] {
                1 => to.copy_from_slice(&x[from as usize..from as usize + inner.len]),
                0 => to.fill(x[from as usize]),
                step => {
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = x[(from + i as isize * step) as usize];
                    }
                }
            }
        }
    });
}

/// Transposes some of the `rows` of the result: blocks that keep few pages in use on both sides, of tiles through a buffer, so that lines which
/// compete for one place in the cache are touched once each.
fn transpose<T: Element>(
    x: &[T],
    to: &SharedMut<T>,
    starts: [isize; 2],
    row_axis: Axis,
    rows: Range<usize>,
    columns: Axis,
) {
    for block in (0..columns.len).step_by(BLOCK) {
        for row in rows.clone().step_by(TILE) {
            let height = TILE.min(rows.end - row);
            for column in (block..(block + BLOCK).min(columns.len)).step_by(TILE) {
                let width = TILE.min(columns.len - column);
                let mut tile = [[T::zeroed(); TILE]; TILE];
                for j in 0..width {
                    let start = (starts[0] + row as isize + (column + j) as isize * columns.steps[0]) as usize;
                    for (line, &value) in tile.iter_mut().zip(&x[start..start + height]) {
                        line[j] = value;
                    }
                }
                for (i, line) in tile[..height].iter().enumerate() {
                    let start = (starts[1] + (row + i) as isize * row_axis.steps[1]) as usize + column;
                    // SAFETY: rows of the result are disjoint, since no two elements of it have the same place.
                    unsafe { to.range(start..start + width) }.copy_from_slice(&line[..width]);
                }
            }
        }
    }
}

/// Where the element of this place among `axes` lies, in the operand and the result.
fn offsets(axes: &[Axis], mut place: usize, starts: [usize; 2]) -> [isize; 2] {
    let mut at = starts.map(|start| start as isize);
    for axis in axes.iter().rev() {
        let index = (place % axis.len) as isize;
        place /= axis.len;
        at[0] += index * axis.steps[0];
        at[1] += index * axis.steps[1];
    }
    at
}
