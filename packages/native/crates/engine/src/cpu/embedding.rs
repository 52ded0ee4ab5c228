//! Rows of a table by number, and sums of rows by number: each row of the result is made by one thread, so that sums have one order.

use super::CpuDevice;
use crate::error::{EngineError, Result};
use crate::ops::Embedding;
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;

/// Elements of one piece of work, about.
const GRAIN: usize = 1 << 14;

impl Embedding for CpuDevice {
    fn gather_rows(&self, table: View<'_>, indices: &[i32], width: usize, output: ViewMut<'_>) -> Result<()> {
        let rows = check("gather_rows", table, indices.len(), width, output.len())?;
        let indices = in_range("gather_rows", indices, rows)?;
        let output = FloatsMut::new(output)?;
        for_ranges(indices.len(), GRAIN / width.max(1), |range| {
            let (mut from, mut to) = (Vec::new(), Vec::new());
            for i in range {
                let row = row(table, indices[i], width, &mut from);
                // SAFETY: each row is written once.
                unsafe {
                    output.with_range(i * width..(i + 1) * width, false, &mut to, |output| output.copy_from_slice(row));
                }
            }
        });
        Ok(())
    }

    fn sum_rows(&self, values: View<'_>, slots: &[i32], width: usize, output: ViewMut<'_>) -> Result<()> {
        let rows = output.len() / width.max(1);
        if check("sum_rows", values, rows, width, output.len())? != slots.len() {
            return Err(EngineError::BadOperand(format!(
                "sum_rows: {} slots for {} elements of rows of {width}.",
                slots.len(),
                values.len()
            )));
        }
        let by_slot = BySlot::new(&in_range("sum_rows", slots, rows)?, rows);
        let output = FloatsMut::new(output)?;
        for_ranges(rows, GRAIN / width.max(1), |range| {
            let (mut from, mut to) = (Vec::new(), Vec::new());
            for slot in range {
                // SAFETY: each row is written once.
                unsafe {
                    output.with_range(slot * width..(slot + 1) * width, false, &mut to, |sum| {
                        sum.fill(0.0);
                        for &i in by_slot.members(slot) {
                            for (sum, value) in sum.iter_mut().zip(row(values, i, width, &mut from)) {
                                *sum += value;
                            }
                        }
                    });
                }
            }
        });
        Ok(())
    }
}

fn row<'s>(view: View<'s>, index: usize, width: usize, scratch: &'s mut Vec<f32>) -> &'s [f32] {
    let Ok(row) = view.floats(index * width..(index + 1) * width, scratch) else { unreachable!("checked before") };
    row
}

/// The number of rows of `view`.
fn check(kernel: &str, view: View<'_>, rows: usize, width: usize, output: usize) -> Result<usize> {
    if !view.dtype().is_float() || width == 0 || !view.len().is_multiple_of(width) || rows * width != output {
        return Err(EngineError::BadOperand(format!(
            "{kernel}: {} elements of {:?} in rows of {width}, and {output} of the result in {rows}; expected floats in whole rows.",
            view.len(),
            view.dtype()
        )));
    }
    Ok(view.len() / width)
}

fn in_range(kernel: &str, indices: &[i32], count: usize) -> Result<Vec<usize>> {
    indices
        .iter()
        .map(|&index| {
            usize::try_from(index).ok().filter(|&index| index < count).ok_or_else(|| {
                EngineError::BadOperand(format!("{kernel}: {index} is out of range; there are {count} rows."))
            })
        })
        .collect()
}

/// Numbers sorted by slot, those of one slot in their order.
struct BySlot {
    starts: Vec<usize>,
    order: Vec<usize>,
}

impl BySlot {
    fn new(slots: &[usize], count: usize) -> Self {
        let mut starts = vec![0; count + 1];
        for &slot in slots {
            starts[slot + 1] += 1;
        }
        for slot in 0..count {
            starts[slot + 1] += starts[slot];
        }
        let mut next = starts.clone();
        let mut order = vec![0; slots.len()];
        for (i, &slot) in slots.iter().enumerate() {
            order[next[slot]] = i;
            next[slot] += 1;
        }
        Self { starts, order }
    }

    fn members(&self, slot: usize) -> &[usize] {
        &self.order[self.starts[slot]..self.starts[slot + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{bf16, f16};
    use proptest::prelude::*;

    fn table(rows: usize, width: usize) -> Vec<f32> {
        (0..rows * width).map(|i| ((i * 37 + 11) % 101) as f32 / 8.0 - 6.0).collect()
    }

    proptest! {
        #[test]
        fn rows_are_gathered_and_summed_in_order(
            indices in proptest::collection::vec(0i32..9, 0..200), width in prop_oneof![1usize..40, Just(1023)]
        ) {
            let table = table(9, width);
            let mut gathered = vec![f32::NAN; indices.len() * width];
            CpuDevice::default().gather_rows(View::of(&table), &indices, width, ViewMut::of(&mut gathered)).expect("in range");
            let mut sums = vec![f32::NAN; 9 * width];
            CpuDevice::default().sum_rows(View::of(&gathered), &indices, width, ViewMut::of(&mut sums)).expect("in range");
            let mut expected = vec![0.0; 9 * width];
            for (i, &index) in indices.iter().enumerate() {
                let from = &table[index as usize * width..][..width];
                prop_assert_eq!(&gathered[i * width..][..width], from);
                for (sum, x) in expected[index as usize * width..].iter_mut().zip(from) {
                    *sum += x;
                }
            }
            prop_assert_eq!(sums, expected);
        }
    }

    #[test]
    fn halves_are_read_and_written_and_summed_in_float32() {
        let values = [2048.0, 1.0, 1.0, 1.0].map(f16::from_f32);
        let mut sums = [0.0f32; 1];
        CpuDevice::default().sum_rows(View::of(&values), &[0; 4], 1, ViewMut::of(&mut sums)).expect("in range");
        assert_eq!(sums, [2051.0]);
        let mut rows = [bf16::ZERO; 2];
        CpuDevice::default()
            .gather_rows(View::of(&[0.5f32, 3.0]), &[1, 0], 1, ViewMut::of(&mut rows))
            .expect("in range");
        assert_eq!(rows, [3.0, 0.5].map(bf16::from_f32));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let device = CpuDevice::default();
        for index in [-1, 2] {
            let error = device.gather_rows(View::of(&[0.0f32; 4]), &[index], 2, ViewMut::of(&mut [0.0f32; 2]));
            assert!(error.expect_err("out of range").to_string().contains("out of range"));
            let error = device.sum_rows(View::of(&[0.0f32; 2]), &[index], 2, ViewMut::of(&mut [0.0f32; 4]));
            assert!(error.expect_err("out of range").to_string().contains("out of range"));
        }
        assert!(device.gather_rows(View::of(&[0.0f32; 5]), &[0], 2, ViewMut::of(&mut [0.0f32; 2])).is_err());
        assert!(device.sum_rows(View::of(&[0.0f32; 4]), &[0], 2, ViewMut::of(&mut [0.0f32; 2])).is_err());
    }
}
