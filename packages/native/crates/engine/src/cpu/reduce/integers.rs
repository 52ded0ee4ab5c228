//! Reductions of integers and booleans, in plain loops: they are masks and labels, and small.

use crate::error::{EngineError, Result};
use crate::ops::{Cumulation, ReduceShape, Reduction};
use crate::storage::{DType, View, ViewMut};

/// Reduces the middle axis. Sums and products wrap around, as int32 does.
pub fn reduce(reduction: Reduction, shape: ReduceShape, x: View<'_>, output: ViewMut<'_>) -> Result<()> {
    match x.dtype() {
        DType::Bool => {
            let x = x.slice::<u8>()?;
            reduce_of(reduction, shape, |i| i64::from(x[i]), output)
        }
        _ => {
            let x = x.slice::<i32>()?;
            reduce_of(reduction, shape, |i| i64::from(x[i]), output)
        }
    }
}

fn reduce_of(
    reduction: Reduction,
    shape: ReduceShape,
    x: impl Fn(usize) -> i64,
    mut output: ViewMut<'_>,
) -> Result<()> {
    let combine: fn(i64, i64) -> i64 = match reduction {
        Reduction::Sum => i64::wrapping_add,
        Reduction::Max => i64::max,
        Reduction::Min => i64::min,
        Reduction::Product => i64::wrapping_mul,
    };
    let ReduceShape { reduced, inner, .. } = shape;
    if reduced == 0 {
        return Err(EngineError::BadOperand("reduce: an axis without elements cannot be reduced.".into()));
    }
    let result = |i: usize| {
        let first = i / inner * reduced * inner + i % inner;
        (1..reduced).fold(x(first), |sum, row| combine(sum, x(first + row * inner)))
    };
    match output.dtype() {
        DType::I32 => output.slice::<i32>()?.iter_mut().enumerate().for_each(|(i, y)| *y = result(i) as i32),
        DType::Bool => output.slice::<u8>()?.iter_mut().enumerate().for_each(|(i, y)| *y = u8::from(result(i) != 0)),
        other => return Err(EngineError::BadOperand(format!("reduce: integers do not give {other:?}."))),
    }
    Ok(())
}

/// Along rows of `width`.
pub fn cumulative_sum(width: usize, cumulation: Cumulation, x: View<'_>, mut output: ViewMut<'_>) -> Result<()> {
    let booleans: Vec<i32>;
    let x = match x.dtype() {
        DType::Bool => {
            booleans = x.slice::<u8>()?.iter().map(|&x| i32::from(x)).collect();
            &booleans
        }
        _ => x.slice::<i32>()?,
    };
    let rows = x.chunks(width.max(1)).zip(output.slice::<i32>()?.chunks_mut(width.max(1)));
    rows.for_each(|(x, y)| super::scans::cumulate(x, y, cumulation, 0, i32::wrapping_add));
    Ok(())
}
