//! Operands of a product, brought into the order in which the innermost loop reads them, a block at a time.

use super::ahead::Ahead;
use super::block::panel_size;
use crate::storage::{DType, Float, View, bf16, f16};
use std::ops::Range;

/// An operand without regard to which one it is: element `i` across (a row of the left one, a column of the right one) at depth `p` (what is
/// summed over) lies at `i * across + p * along`.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub view: View<'a>,
    pub across: usize,
    pub along: usize,
}

/// Float32 elements of a block of an operand: where they lie, or converted.
#[derive(Clone, Copy)]
pub struct Floats {
    pub pointer: *const f32,
    pub across: usize,
    pub along: usize,
}

/// A block of the left operand. Row `i` is at `pointer + offset(i)` with `step` from one value to the next.
#[derive(Clone, Copy)]
pub struct Left {
    pub pointer: *const f32,
    pub row_stride: usize,
    /// Rows of values lie together for `panel` rows at each depth; 1: each row for itself.
    pub panel: usize,
    /// Elements from one panel to the next.
    pub panel_stride: usize,
}

/// A block of the right operand as it lies in memory: the columns of one depth together.
#[derive(Clone, Copy)]
pub struct Rows {
    pub pointer: *const f32,
    /// Elements from one depth to the next.
    pub along: usize,
}

/// Keeps rows of a packed block from falling on the same cache sets.
const PADDING: usize = 16;

impl Side<'_> {
    /// Elements that it reaches over; the largest number if they cannot be counted.
    pub fn needed(&self, across: usize, depth: usize) -> usize {
        if across == 0 || depth == 0 {
            return 0;
        }
        let (last, deepest) = ((across - 1).saturating_mul(self.across), (depth - 1).saturating_mul(self.along));
        last.saturating_add(deepest).saturating_add(1)
    }

    /// Where a block lies.
    pub fn ahead(&self, across: &Range<usize>, depth: &Range<usize>) -> Ahead {
        let bytes = self.view.dtype().bytes();
        let from = (across.start * self.across + depth.start * self.along) * bytes;
        let (run, runs, stride) = if self.across <= self.along {
            (across.len() * self.across, depth.len(), self.along)
        } else {
            (depth.len() * self.along, across.len(), self.across)
        };
        Ahead::new(self.view.pointer().wrapping_add(from), run * bytes, runs, stride * bytes)
    }

    /// A block of the right operand where it lies, if whole vectors of `width` columns can be read there.
    pub fn in_rows(&self, columns: &Range<usize>, depth: &Range<usize>, width: usize) -> Option<Rows> {
        let whole = self.across == 1 && self.view.dtype() == DType::F32 && columns.len().is_multiple_of(width);
        let from = columns.start + depth.start * self.along;
        whole.then(|| Rows { pointer: self.view.pointer().cast::<f32>().wrapping_add(from), along: self.along })
    }

    /// A block's values, converted into `scratch` where they are halves.
    #[inline(always)]
    pub fn floats(&self, across: &Range<usize>, depth: &Range<usize>, scratch: &mut Vec<f32>) -> Floats {
        let from = across.start * self.across + depth.start * self.along;
        let len = self.needed(across.len(), depth.len());
        let part = self.view.part(from.min(self.view.len()), len);
        match part.dtype() {
            DType::F16 => self.convert::<f16>(part, across.len(), depth.len(), scratch),
            DType::BF16 => self.convert::<bf16>(part, across.len(), depth.len(), scratch),
            _ => Floats { pointer: part.pointer().cast(), across: self.across, along: self.along },
        }
    }

    #[inline(always)]
    fn convert<T: Float>(&self, part: View<'_>, across: usize, depth: usize, scratch: &mut Vec<f32>) -> Floats {
        // The caller matched the storage.
        let Ok(elements) = part.slice::<T>() else { unreachable!("stored otherwise") };
        scratch.resize(across * depth, 0.0);
        if self.across == 1 {
            for p in 0..depth {
                T::load(&elements[p * self.along..][..across], &mut scratch[p * across..][..across]);
            }
            return Floats { pointer: scratch.as_ptr(), across: 1, along: across };
        }
        for i in 0..across {
            let row = &mut scratch[i * depth..][..depth];
            let from = i * self.across;
            if self.along == 1 {
                T::load(&elements[from..][..depth], row);
            } else {
                for (p, value) in row.iter_mut().enumerate() {
                    *value = elements[from + p * self.along].to_f32();
                }
            }
        }
        Floats { pointer: scratch.as_ptr(), across: depth, along: 1 }
    }

    /// A block of the left operand; where it lies if `in_place` and it is float32 with its rows together.
    #[inline(always)]
    pub fn left<const MR: usize>(
        &self,
        rows: &Range<usize>,
        depth: &Range<usize>,
        in_place: bool,
        packed: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
    ) -> Left {
        if depth.is_empty() {
            return Left { pointer: packed.as_ptr(), row_stride: 0, panel: 1, panel_stride: 0 };
        }
        let from = self.floats(rows, depth, scratch);
        let (count, depth) = (rows.len(), depth.len());
        let converted = self.view.dtype() != DType::F32;
        if from.along == 1 && (in_place || converted) {
            return Left { pointer: from.pointer, row_stride: from.across, panel: 1, panel_stride: 0 };
        }
        if from.across == 1 && from.along != 1 {
            let panels = count.div_ceil(MR);
            let stride = depth * MR + PADDING;
            packed.resize(panels * stride, 0.0);
            for p in 0..depth {
                for panel in 0..panels {
                    let to = &mut packed[panel * stride + p * MR..][..MR];
                    let first = panel * MR;
                    // SAFETY: within the block.
                    let values = unsafe { from.pointer.add(p * from.along + first) };
                    copy_padded::<MR>(values, count - first, to);
                }
            }
            return Left { pointer: packed.as_ptr(), row_stride: 1, panel: MR, panel_stride: stride };
        }
        let stride = depth.next_multiple_of(PADDING) + PADDING;
        packed.resize(count * stride, 0.0);
        for i in 0..count {
            let row = &mut packed[i * stride..][..depth];
            if from.along == 1 {
                // SAFETY: within the block.
                row.copy_from_slice(unsafe { std::slice::from_raw_parts(from.pointer.add(i * from.across), depth) });
                continue;
            }
            for (p, value) in row.iter_mut().enumerate() {
                // SAFETY: within the block.
                *value = unsafe { *from.pointer.add(i * from.across + p * from.along) };
            }
        }
        Left { pointer: packed.as_ptr(), row_stride: stride, panel: 1, panel_stride: 0 }
    }

    /// Packs a block of the right operand: panels of `NR` columns, each with its `NR` values of one depth together, filled up with zeros.
    #[inline(always)]
    pub fn right<const NR: usize>(
        &self,
        columns: &Range<usize>,
        depth: &Range<usize>,
        packed: &mut [f32],
        scratch: &mut Vec<f32>,
    ) {
        if depth.is_empty() {
            return;
        }
        let from = self.floats(columns, depth, scratch);
        let (count, depth) = (columns.len(), depth.len());
        if from.across == 1 {
            for p in 0..depth {
                for first in (0..count).step_by(NR) {
                    let to = &mut packed[first / NR * panel_size(depth, NR) + p * NR..][..NR];
                    // SAFETY: within the block.
                    let values = unsafe { from.pointer.add(p * from.along + first) };
                    copy_padded::<NR>(values, count - first, to);
                }
            }
            return;
        }
        for first in (0..count).step_by(NR) {
            let panel = &mut packed[first / NR * panel_size(depth, NR)..][..depth * NR];
            // Columns beyond the last are read from it; nobody looks at what is computed of them.
            let starts: [*const f32; NR] = std::array::from_fn(|j| {
                // SAFETY: within the block.
                unsafe { from.pointer.add((first + j).min(count - 1) * from.across) }
            });
            transpose::<NR>(&starts, from.along, depth, panel);
        }
    }
}

/// The first `N` of `available` values, filled up with zeros.
#[inline(always)]
fn copy_padded<const N: usize>(values: *const f32, available: usize, to: &mut [f32]) {
    let to: &mut [f32; N] = to.try_into().expect("a panel's width");
    if available >= N {
        // SAFETY: so many values are there.
        *to = unsafe { *values.cast::<[f32; N]>() };
        return;
    }
    for (j, value) in to.iter_mut().enumerate() {
        // SAFETY: as above.
        *value = if j < available { unsafe { *values.add(j) } } else { 0.0 };
    }
}

/// `NR` columns of values, each at its start and then `along` apart, with the values of one depth together.
#[inline(always)]
pub fn transpose<const NR: usize>(starts: &[*const f32; NR], along: usize, depth: usize, panel: &mut [f32]) {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
    let mut from = 0;
    #[cfg(target_arch = "x86_64")]
    if along == 1 {
        while from + 4 <= depth {
            for j in (0..NR).step_by(4) {
                // SAFETY: four values from `from` on are there in each column, and the panel has room for four rows; SSE is always there.
                unsafe {
                    use std::arch::x86_64::*;
                    let [mut a, mut b, mut c, mut d] = std::array::from_fn(|i| _mm_loadu_ps(starts[j + i].add(from)));
                    _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
                    let to = panel[from * NR + j..][..3 * NR + 4].as_mut_ptr();
                    _mm_storeu_ps(to, a);
                    _mm_storeu_ps(to.add(NR), b);
                    _mm_storeu_ps(to.add(2 * NR), c);
                    _mm_storeu_ps(to.add(3 * NR), d);
                }
            }
            from += 4;
        }
    }
    for p in from..depth {
        for (to, start) in panel[p * NR..][..NR].iter_mut().zip(starts) {
            // SAFETY: within the block.
            *to = unsafe { *start.add(p * along) };
        }
    }
}
