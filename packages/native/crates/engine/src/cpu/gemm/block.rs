//! One block of a product: packs its operands and runs the innermost loop over its tiles.

use super::ahead::Ahead;
use super::side::Side;
use super::target::{Lines, Target};
use super::tiles::{Panels, Place, tiles};
use crate::simd::{Kernel, Simd, dispatch_at};
use std::cell::RefCell;
use std::ops::Range;

/// A product as it is computed: of `left`, whose values are broadcast, and `right`, whose values fill vectors.
pub struct Product<'a> {
    pub depth: usize,
    pub left: Side<'a>,
    pub right: Side<'a>,
    pub target: Target<'a>,
    /// What is summed in registers before sums are put into the result (or added to it). It must depend on the shape only: the bits do.
    pub depth_step: usize,
    /// Read the left operand where it lies, if it can be.
    pub left_in_place: bool,
    /// All of the right operand, packed by [`pack_right`].
    pub packed_right: Option<&'a [f32]>,
    /// Columns of the right operand that are packed at once.
    pub group: usize,
    /// Whether results are written row after row.
    pub by_rows: bool,
}

/// Up to so many rows packing the right operand takes so much of the time that it must not wait for memory.
const FEW_ROWS: usize = 128;

/// Elements from one panel of the right operand to the next: one row more than it has, lest panels fall on the same cache sets.
pub fn panel_size(depth: usize, width: usize) -> usize {
    (depth + 1) * width
}

/// Rows and columns of a tile at each level.
pub fn tile_size(level: Simd) -> (usize, usize) {
    match level {
        Simd::Portable => (4, 8),
        Simd::Avx2 | Simd::Neon => (6, 16),
        Simd::Avx512 | Simd::Avx512Bf16 | Simd::Amx => (12, 32),
    }
}

/// Computes rows `rows` and columns `columns`, which begin at tiles.
///
/// # Safety
/// No other thread uses these elements of the result.
pub unsafe fn compute(level: Simd, product: &Product<'_>, rows: Range<usize>, columns: Range<usize>) {
    SCRATCH.with_borrow_mut(|scratch| match level {
        Simd::Portable => dispatch_at(level, Block::<4, 8, false> { product, rows, columns, scratch }),
        Simd::Avx2 | Simd::Neon => dispatch_at(level, Block::<6, 16, true> { product, rows, columns, scratch }),
        Simd::Avx512 | Simd::Avx512Bf16 | Simd::Amx => {
            dispatch_at(level, Block::<12, 32, true> { product, rows, columns, scratch });
        }
    });
}

/// Packs columns `columns` of depths `depth` (one step) of `right` for [`Product::packed_right`].
pub fn pack_right(level: Simd, right: Side<'_>, columns: Range<usize>, depth: Range<usize>, packed: &mut [f32]) {
    SCRATCH.with_borrow_mut(|scratch| {
        let scratch = &mut scratch.converted;
        match level {
            Simd::Portable => dispatch_at(level, Pack::<8> { right, columns, depth, packed, scratch }),
            Simd::Avx2 | Simd::Neon => dispatch_at(level, Pack::<16> { right, columns, depth, packed, scratch }),
            Simd::Avx512 | Simd::Avx512Bf16 | Simd::Amx => {
                dispatch_at(level, Pack::<32> { right, columns, depth, packed, scratch })
            }
        }
    });
}

/// What a thread needs for a block; kept for the next one.
#[derive(Default)]
struct Scratch {
    left: Vec<f32>,
    right: Vec<f32>,
    converted: Vec<f32>,
    converted_right: Vec<f32>,
    sums: Vec<f32>,
    lines: Lines,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

struct Pack<'a, const NR: usize> {
    right: Side<'a>,
    columns: Range<usize>,
    depth: Range<usize>,
    packed: &'a mut [f32],
    scratch: &'a mut Vec<f32>,
}

impl<const NR: usize> Kernel for Pack<'_, NR> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.right.right::<NR>(&self.columns, &self.depth, self.packed, self.scratch);
    }
}

struct Block<'a, const MR: usize, const NR: usize, const FMA: bool> {
    product: &'a Product<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &'a mut Scratch,
}

impl<const MR: usize, const NR: usize, const FMA: bool> Kernel for Block<'_, MR, NR, FMA> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Block { product, rows, columns, scratch } = self;
        let Product { depth, ref target, depth_step, .. } = *product;
        let Scratch { left: packed_left, right: packed, converted, converted_right, sums, lines } = scratch;
        let in_place = target.in_place();
        let stride = columns.len().next_multiple_of(NR);
        if in_place.is_none() {
            sums.resize(rows.len().next_multiple_of(MR) * stride, 0.0);
        }
        let steps = depth.div_ceil(depth_step).max(1);
        for step in 0..steps {
            let depths = step * depth_step..((step + 1) * depth_step).min(depth);
            let left = product.left.left::<MR>(&rows, &depths, product.left_in_place, packed_left, converted);
            for first in columns.clone().step_by(product.group) {
                let group = first..(first + product.group).min(columns.end);
                let panels = match product.packed_right {
                    Some(all) => {
                        let stride = panel_size(depth_step, NR);
                        let panels = all.len() / stride / steps;
                        let all = &all[(step * panels + group.start / NR) * stride..];
                        Panels { pointer: all.as_ptr().cast_mut(), stride, unpacked: None }
                    }
                    None => {
                        let stride = panel_size(depths.len(), NR);
                        packed.resize(group.len().div_ceil(NR) * stride, 0.0);
                        let few = rows.len() <= FEW_ROWS && !product.by_rows;
                        let unpacked = if few { product.right.in_rows(&group, &depths, NR) } else { None };
                        if unpacked.is_none() {
                            product.right.right::<NR>(&group, &depths, packed, converted_right);
                        }
                        Panels { pointer: packed.as_mut_ptr(), stride, unpacked }
                    }
                };
                let place = match in_place {
                    Some(pointer) => {
                        let from = rows.start * target.columns + group.start;
                        // SAFETY: within the result.
                        let pointer = unsafe { pointer.add(from) };
                        Place { pointer, stride: target.columns, add: step > 0 || target.accumulate, padded: false }
                    }
                    None => {
                        let pointer = sums[group.start - columns.start..].as_mut_ptr();
                        Place { pointer, stride, add: step > 0, padded: true }
                    }
                };
                let size = (rows.len(), group.len());
                // While this is computed the next part of the right operand comes nearer.
                let next = group.end..(group.end + product.group).min(columns.end);
                let ahead = if rows.len() > FEW_ROWS || product.packed_right.is_some() {
                    Ahead::nothing()
                } else if !next.is_empty() {
                    product.right.ahead(&next, &depths)
                } else {
                    let first = columns.start..(columns.start + product.group).min(columns.end);
                    product.right.ahead(&first, &(depths.end..(depths.end + depth_step).min(depth)))
                };
                // SAFETY: the packed operands have these sizes, and the place is this block's, which is ours.
                unsafe {
                    if left.panel == 1 {
                        tiles::<MR, NR, FMA, 1>(depths.len(), left, panels, place, size, product.by_rows, ahead);
                    } else {
                        tiles::<MR, NR, FMA, MR>(depths.len(), left, panels, place, size, product.by_rows, ahead);
                    }
                }
                if step + 1 < steps {
                    continue;
                }
                // SAFETY: the block is ours.
                unsafe {
                    match in_place {
                        Some(_) => target.finish_in_place::<FMA>(&rows, &group, lines),
                        None => {
                            let sums = &sums[group.start - columns.start..];
                            target.finish::<FMA>(&rows, &group, sums, stride, lines);
                        }
                    }
                }
            }
        }
    }
}
