//! Steps of optimizers on rows of a table: only those that have ever had a gradient move.

use super::CpuDevice;
use super::optimizers::{Adam, Sgd, check_floats};
use crate::error::{EngineError, Result};
use crate::ops::{AdamFactors, Gradients, SgdFactors, VisitedRows};
use crate::simd::dispatch;
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;
use std::ops::Range;

/// Elements that a thread takes at once, at least.
const PIECE: usize = 1 << 14;

pub(super) fn adam_rows(
    device: &CpuDevice,
    mut table: ViewMut<'_>,
    gradients: View<'_>,
    exp_avg: ViewMut<'_>,
    exp_avg_sq: ViewMut<'_>,
    visited: VisitedRows<'_>,
    factors: AdamFactors,
) -> Result<()> {
    check_floats(gradients)?;
    check_rows(visited, table.len(), gradients.len(), &[exp_avg.len(), exp_avg_sq.len()])?;
    if factors.value_kept != 1.0 {
        device.scale_in_place(table.reborrow(), factors.value_kept)?;
    }
    let factors = AdamFactors { value_kept: 1.0, ..factors };
    let (table, exp_avg, exp_avg_sq) = (FloatsMut::new(table)?, FloatsMut::new(exp_avg)?, FloatsMut::new(exp_avg_sq)?);
    let zeros = vec![0.0; visited.width];
    for_ranges(visited.rows.len(), rows_at_once(visited.width), |positions| {
        let mut scratch: [Vec<f32>; 4] = Default::default();
        let [of_value, of_gradient, of_first, of_second] = &mut scratch;
        for k in positions {
            let gradient = gradient_row(gradients, visited, k, of_gradient).unwrap_or(&zeros);
            let (to, at) = (row_range(visited, k), k * visited.width..(k + 1) * visited.width);
            // SAFETY: rows were checked to come once each, and so do positions.
            unsafe {
                table.with_range(to, true, of_value, |value| {
                    exp_avg.with_range(at.clone(), true, of_first, |exp_avg| {
                        exp_avg_sq.with_range(at.clone(), true, of_second, |exp_avg_sq| {
                            dispatch(Adam { value, gradient, exp_avg, exp_avg_sq, factors });
                        });
                    });
                });
            }
        }
    });
    Ok(())
}

pub(super) fn sgd_rows(
    table: ViewMut<'_>,
    gradients: View<'_>,
    momentum: Option<ViewMut<'_>>,
    visited: VisitedRows<'_>,
    factors: SgdFactors,
) -> Result<()> {
    check_floats(gradients)?;
    let moments: Vec<usize> = momentum.iter().map(ViewMut::len).collect();
    check_rows(visited, table.len(), gradients.len(), &moments)?;
    let table = FloatsMut::new(table)?;
    let momentum = momentum.map(FloatsMut::new).transpose()?;
    let zeros = vec![0.0; visited.width];
    for_ranges(visited.rows.len(), rows_at_once(visited.width), |positions| {
        let mut scratch: [Vec<f32>; 3] = Default::default();
        let [of_value, of_gradient, of_momentum] = &mut scratch;
        for k in positions {
            let own = gradient_row(gradients, visited, k, of_gradient);
            if own.is_none() && momentum.is_none() && factors.weight_decay == 0.0 {
                continue;
            }
            let gradient = own.unwrap_or(&zeros);
            let at = k * visited.width..(k + 1) * visited.width;
            // SAFETY: rows were checked to come once each, and so do positions.
            unsafe {
                table.with_range(row_range(visited, k), true, of_value, |value| match &momentum {
                    None => dispatch(Sgd { value, gradient, momentum: &mut [], factors }),
                    Some(momentum) => momentum.with_range(at, true, of_momentum, |momentum| {
                        dispatch(Sgd { value, gradient, momentum, factors });
                    }),
                });
            }
        }
    });
    Ok(())
}

fn rows_at_once(width: usize) -> usize {
    PIECE.div_ceil(width.max(1))
}

/// Where the row at a position lies in the table.
fn row_range(visited: VisitedRows<'_>, position: usize) -> Range<usize> {
    let from = visited.rows[position] as usize * visited.width;
    from..from + visited.width
}

/// The gradient of the row at a position, if it has one.
fn gradient_row<'s>(
    gradients: View<'s>,
    visited: VisitedRows<'_>,
    position: usize,
    scratch: &'s mut Vec<f32>,
) -> Option<&'s [f32]> {
    let from = usize::try_from(visited.offsets[position]).ok()?;
    gradients.floats(from..from + visited.width, scratch).ok()
}

fn check_rows(visited: VisitedRows<'_>, table: usize, gradients: usize, moments: &[usize]) -> Result<()> {
    let VisitedRows { rows, offsets, width } = visited;
    if offsets.len() != rows.len() || moments.iter().any(|&len| len < rows.len() * width) {
        return Err(EngineError::BadOperand(format!(
            "{} rows of {width} elements need as many offsets, not {}, and moments of that size, not {moments:?}.",
            rows.len(),
            offsets.len()
        )));
    }
    if let Some(offset) = offsets.iter().find(|&&offset| offset >= 0 && offset as usize + width > gradients) {
        return Err(EngineError::BadOperand(format!(
            "A gradient cannot begin at element {offset} of {gradients}: a row has {width}."
        )));
    }
    check_distinct(rows, table.checked_div(width).unwrap_or(0))
}

/// Checks that each number is below `count` and comes once.
pub(super) fn check_distinct(rows: &[i32], count: usize) -> Result<()> {
    let mut seen = vec![0_u64; count.div_ceil(64)];
    for &row in rows {
        let index = usize::try_from(row).ok().filter(|&index| index < count);
        let Some(index) = index else {
            return Err(EngineError::BadOperand(format!("There is no row {row}; there are {count}.")));
        };
        let bit = 1 << (index % 64);
        if seen[index / 64] & bit != 0 {
            return Err(EngineError::BadOperand(format!("Row {row} comes twice.")));
        }
        seen[index / 64] |= bit;
    }
    Ok(())
}

#[cfg(test)]
#[path = "row_steps_tests.rs"]
mod tests;
