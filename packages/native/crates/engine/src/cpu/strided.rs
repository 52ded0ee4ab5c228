//! Planning a copy between two orders of elements.

use crate::error::{EngineError, Result};
use crate::ops::{Region, Strided};

/// An axis of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Elements along it.
    pub len: usize,
    /// From one to the next, in the operand and in the result.
    pub steps: [isize; 2],
}

/// The axes of a copy, merged where both sides go on without a break, and where the box begins in the result. Along the last axis the
/// result's elements are neighbours. No axes: there is nothing to copy.
///
/// # Errors
/// If shapes do not fit, or elements lie outside of either side.
pub fn plan(from: Strided<'_>, to: Region<'_>, from_len: usize, to_len: usize) -> Result<(Vec<Axis>, usize)> {
    let rank = from.shape.len();
    let fits = from.strides.len() == rank
        && to.shape.len() == rank
        && to.begin.len() == rank
        && to.shape.iter().product::<usize>() == to_len
        && (0..rank).all(|i| to.begin[i] + from.shape[i] <= to.shape[i]);
    if !fits {
        return Err(EngineError::BadOperand(format!("A box of {from:?} does not fit {to:?} of {to_len} elements.")));
    }
    if from.shape.contains(&0) {
        return Ok((Vec::new(), 0));
    }
    let (mut lowest, mut highest) = (from.offset as isize, from.offset as isize);
    for (&len, &stride) in from.shape.iter().zip(from.strides) {
        let reach = (len as isize - 1).saturating_mul(stride);
        let end = if reach < 0 { &mut lowest } else { &mut highest };
        *end = end.saturating_add(reach);
    }
    if lowest < 0 || highest as usize >= from_len {
        return Err(EngineError::BadOperand(format!(
            "Elements {lowest} to {highest} of an operand of {from_len} are asked for."
        )));
    }
    let mut axes: Vec<Axis> = Vec::with_capacity(rank + 1);
    let (mut to_stride, mut offset) = (1, 0);
    // From the innermost outwards.
    for i in (0..rank).rev() {
        let axis = Axis { len: from.shape[i], steps: [from.strides[i], to_stride as isize] };
        offset += to.begin[i] * to_stride;
        to_stride *= to.shape[i];
        if axis.len == 1 {
            continue;
        }
        match axes.last_mut() {
            Some(inner) if (0..2).all(|side| axis.steps[side] == inner.steps[side] * inner.len as isize) => {
                inner.len *= axis.len;
            }
            // The rows of a result whose innermost axis is of one element are not neighbours.
            None if axis.steps[1] != 1 => {
                axes.push(Axis { len: 1, steps: [1, 1] });
                axes.push(axis);
            }
            _ => axes.push(axis),
        }
    }
    if axes.is_empty() {
        axes.push(Axis { len: 1, steps: [1, 1] });
    }
    axes.reverse();
    Ok((axes, offset))
}
