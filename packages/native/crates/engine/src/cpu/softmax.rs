//! Softmax in two passes: sums of exponentials, then the quotients.

use super::CpuDevice;
use super::log_sum_exp::exponentials;
use super::math::exp;
use super::rows::{Floats, Tiles, blocks, expect_len, row_count};
use crate::error::Result;
use crate::ops::Softmax;
use crate::simd::{FmaKernel, dispatch_fma};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;

impl Softmax for CpuDevice {
    fn softmax(&self, width: usize, x: View<'_>, output: ViewMut<'_>) -> Result<()> {
        let rows = row_count("softmax", x.len(), width)?;
        expect_len("softmax", "output", output.len(), x.len())?;
        let (x, output) = (Floats::new(x)?, FloatsMut::new(output)?);
        let sums = exponentials(rows, width, x, |_| true);
        let tiles = Tiles::new(rows, width);
        for_ranges(tiles.count, tiles.grain, |range| {
            let (mut x_scratch, mut y_scratch) = (Vec::new(), Vec::new());
            for (row, elements) in range.map(|tile| tiles.get(tile)) {
                let (max, factor) = (sums[row].max, (1.0 / sums[row].sum) as f32);
                for block in blocks(elements, 1) {
                    let x = x.range(block.clone(), &mut x_scratch);
                    let kernel = |y: &mut [f32]| dispatch_fma(Quotients { x, max, factor, y });
                    // SAFETY: blocks do not overlap.
                    unsafe { output.with_range(block, false, &mut y_scratch, kernel) }
                }
            }
        });
        Ok(())
    }
}

struct Quotients<'a> {
    x: &'a [f32],
    max: f32,
    factor: f32,
    y: &'a mut [f32],
}

impl FmaKernel for Quotients<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.y.iter_mut().zip(self.x).for_each(|(y, &x)| *y = exp::<FMA>(x - self.max) * self.factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testing::{STORAGES, Stored, assert_close, tolerance, values};
    use crate::simd::testing::at_each_level;

    fn check(rows: usize, width: usize, dtype: crate::DType) {
        // Far from zero: only the shift keeps exponentials finite.
        let x: Vec<f32> = values(rows * width, width as u32).iter().map(|x| x * 5.0 + 200.0).collect();
        let x = Stored::new(&x, dtype);
        let mut output = Stored::new(&vec![f32::NAN; rows * width], dtype);
        CpuDevice::default().softmax(width, x.view(), output.view_mut()).expect("lengths fit");
        let mut expected = Vec::new();
        for row in x.values().chunks(width) {
            let sum: f64 = row.iter().map(|x| (x - 200.0).exp()).sum();
            expected.extend(row.iter().map(|x| (x - 200.0).exp() / sum));
        }
        assert_close(&output.values(), &expected, tolerance(dtype, 1e-6), &format!("{rows} x {width}, {dtype:?}"));
    }

    #[test]
    fn is_softmax_for_rows_of_any_length_in_every_storage_at_every_level() {
        at_each_level(|_| {
            for dtype in STORAGES {
                for (rows, width) in [(1, 1), (5, 7), (33, 33), (2, 1023), (3, 40_000), (0, 4)] {
                    check(rows, width, dtype);
                }
            }
        });
    }

    #[test]
    fn infinities_and_nan_are_as_in_the_formula() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let softmax = |x: [f32; 3]| {
            let mut y = [0.0f32; 3];
            CpuDevice::default().softmax(3, View::of(&x), ViewMut::of(&mut y)).expect("lengths fit");
            y
        };
        assert_eq!(softmax([-inf, 2.0, 2.0]), [0.0, 0.5, 0.5]);
        assert_eq!(softmax([-1e38, 0.0, -inf]), [0.0, 1.0, 0.0]);
        for undefined in [[-inf; 3], [1.0, nan, 2.0], [nan, -inf, -inf], [inf, 0.0, 1.0]] {
            assert!(softmax(undefined).iter().any(|y| y.is_nan()), "{undefined:?}");
        }
    }

    #[test]
    fn a_long_row_that_begins_with_minus_infinity_is_right() {
        let mut x = vec![f32::NEG_INFINITY; 40_000];
        x[39_999] = 1.0;
        let mut y = vec![f32::NAN; 40_000];
        CpuDevice::default().softmax(40_000, View::of(&x), ViewMut::of(&mut y)).expect("lengths fit");
        assert_eq!((y[0], y[39_998], y[39_999]), (0.0, 0.0, 1.0));
    }
}
