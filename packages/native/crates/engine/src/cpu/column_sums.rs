//! Sums over the rows of a matrix: the gradient of a bias.

use crate::error::{EngineError, Result};
use crate::simd::{self, Kernel};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;
use std::ops::Range;

/// Columns of one piece of work: a row of it is a few cache lines that the prefetcher follows.
const PIECE: usize = 256;
/// Rows that are summed in a running sum, before it is added to the total: sums of sums lose less than one long sum.
const ROWS: usize = 64;

/// See [`crate::ops::Gemm::column_sums`].
pub fn column_sums(rows: usize, columns: usize, x: View<'_>, sums: ViewMut<'_>, accumulate: bool) -> Result<()> {
    if x.len() < rows * columns || sums.len() < columns {
        return Err(EngineError::BadOperand(format!(
            "column_sums: [{rows}, {columns}] to [{columns}] was asked of operands of {} and {} elements.",
            x.len(),
            sums.len()
        )));
    }
    if !x.dtype().is_float() {
        x.slice::<f32>()?;
    }
    let sums = FloatsMut::new(sums)?;
    for_ranges(columns, PIECE, |range| {
        // SAFETY: pieces are disjoint.
        unsafe {
            sums.with_range(range.clone(), accumulate, &mut Vec::new(), |sums| {
                if !accumulate {
                    sums.fill(0.0);
                }
                simd::dispatch(Piece { rows, columns, x, range, sums });
            });
        }
    });
    Ok(())
}

struct Piece<'a, 'x> {
    rows: usize,
    columns: usize,
    x: View<'x>,
    range: Range<usize>,
    sums: &'a mut [f32],
}

impl Kernel for Piece<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut scratch = Vec::new();
        let width = self.sums.len();
        let mut running = [0.0; PIECE];
        let running = &mut running[..width];
        for first in (0..self.rows).step_by(ROWS) {
            running.fill(0.0);
            for row in first..(first + ROWS).min(self.rows) {
                let from = row * self.columns + self.range.start;
                // The storage was checked to be of floats.
                let Ok(values) = self.x.floats(from..from + width, &mut scratch) else { return };
                for (sum, value) in running.iter_mut().zip(values) {
                    *sum += value;
                }
            }
            for (sum, value) in self.sums.iter_mut().zip(&*running) {
                *sum += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Float, bf16};
    use proptest::prelude::*;

    fn values(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 % 1000) as f32 - 500.0) / 250.0).collect()
    }

    proptest! {
        #[test]
        fn equals_a_plain_loop(rows in 0_usize..200, columns in 1_usize..600, accumulate in any::<bool>()) {
            let x = values(rows * columns);
            let mut sums = vec![3.0_f32; columns];
            column_sums(rows, columns, View::of(&x), ViewMut::of(&mut sums), accumulate).expect("fits");
            for (j, &sum) in sums.iter().enumerate() {
                let expected: f64 = (0..rows).map(|i| f64::from(x[i * columns + j])).sum();
                let expected = expected + if accumulate { 3.0 } else { 0.0 };
                prop_assert!((f64::from(sum) - expected).abs() < 1e-3, "column {j}: {sum}, not {expected}");
            }
        }
    }

    #[test]
    fn halves_are_summed_in_float32() {
        let x: Vec<bf16> = vec![Float::from_f32(1.0); 1000 * 3];
        let mut sums = vec![0.0_f32; 3];
        column_sums(1000, 3, View::of(&x), ViewMut::of(&mut sums), false).expect("fits");
        assert_eq!(sums, [1000.0; 3]);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let mut sums = [0.0_f32; 3];
        assert!(column_sums(2, 3, View::of(&[0.0_f32; 5]), ViewMut::of(&mut sums), false).is_err());
        assert!(column_sums(1, 3, View::of(&[0_i32; 3]), ViewMut::of(&mut sums), false).is_err());
    }
}
