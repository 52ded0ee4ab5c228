//! Kernels that move elements.

use super::CpuDevice;
use super::elementwise::{GRAIN, expect_lengths};
use super::strided::{Axis, plan};
use crate::error::{EngineError, Result};
use crate::ops::{GatherShape, Movement, Region, Strided};
use crate::storage::{DType, Element, View, ViewMut, bf16, f16};
use crate::threads::{SharedMut, for_ranges};

/// Rows and columns that are transposed at a time, so that both sides stay in the nearest cache.
const TILE: usize = 16;

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
            let shared = SharedMut::new(out.slice::<T>()?);
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
    // Along one axis the operand's elements are neighbours, along another the result's: tiles of both.
    if inner.steps[0] != 1
        && inner.steps[0] != 0
        && let Some(across) = outer.iter().position(|axis| axis.steps[0] == 1)
    {
        let rows = outer[across];
        let others: Vec<Axis> = outer.iter().enumerate().filter(|(i, _)| *i != across).map(|(_, axis)| *axis).collect();
        let tiles = rows.len.div_ceil(TILE);
        let units = others.iter().map(|axis| axis.len).product::<usize>() * tiles;
        for_ranges(units, GRAIN / (TILE * inner.len), |piece| {
            for unit in piece {
                let [from, at] = offsets(&others, unit / tiles, starts);
                let row_range = unit % tiles * TILE..(unit % tiles * TILE + TILE).min(rows.len);
                for column in (0..inner.len).step_by(TILE) {
                    let columns = column..(column + TILE).min(inner.len);
                    for row in row_range.clone() {
                        let to_start = at as usize + row * rows.steps[1] as usize + columns.start;
                        // SAFETY: rows of the result are disjoint, since no two elements of it have the same place.
                        let to = unsafe { to.range(to_start..to_start + columns.len()) };
                        let from = from + row as isize;
                        for (to, column) in to.iter_mut().zip(columns.clone()) {
                            *to = x[(from + column as isize * inner.steps[0]) as usize];
                        }
                    }
                }
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
