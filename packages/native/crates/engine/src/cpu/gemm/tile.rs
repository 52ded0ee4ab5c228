//! The innermost loop of a product: a tile of the result in registers.

use super::ahead::prefetch_read;
use super::side::Rows;
use crate::cpu::math::fma;

/// The sums over `depth` of `left` times `right` for `MR` rows and `NR` columns. Row `i` of the left operand has its values at
/// `left[i] + p * STEP`; `right` has the `NR` values of one `p` together.
///
/// With sizes known at compile time the sums stay in registers (12 of 8 lanes with AVX2, 24 of 16 with AVX-512), and each step is one
/// multiply-add of a broadcast value for each of them.
///
/// # Safety
/// All values are within the operands.
#[inline(always)]
pub unsafe fn tile<const MR: usize, const NR: usize, const FMA: bool, const STEP: usize>(
    depth: usize,
    left: [*const f32; MR],
    right: *const f32,
) -> [[f32; NR]; MR] {
    let mut sums = [[0.0; NR]; MR];
    let even = depth - depth % UNROLLED;
    // SAFETY: by the caller's promise.
    unsafe {
        for p in (0..even).step_by(UNROLLED) {
            for q in 0..UNROLLED {
                step::<MR, NR, FMA, STEP>(&left, right, p, q, &mut sums);
            }
        }
        for p in even..depth {
            step::<MR, NR, FMA, STEP>(&left, right, p, 0, &mut sums);
        }
    }
    sums
}

/// As [`tile`], where the right operand is not packed yet: its values are packed on the way.
///
/// Two stores more in each step cost nothing, as the multiply-adds keep the CPU busy; packing by itself waits for memory instead.
///
/// # Safety
/// As for [`tile`]; there is room for `depth * NR` values at `packed`.
#[inline(always)]
pub unsafe fn tile_packing<const MR: usize, const NR: usize, const FMA: bool, const STEP: usize>(
    depth: usize,
    left: [*const f32; MR],
    right: Rows,
    packed: *mut f32,
) -> [[f32; NR]; MR] {
    let mut sums = [[0.0; NR]; MR];
    for p in 0..depth {
        let from = right.pointer.wrapping_add(p * right.along);
        prefetch_read(from.wrapping_add(AHEAD * right.along).cast());
        // SAFETY: by the caller's promise.
        let values = unsafe { *from.cast::<[f32; NR]>() };
        // SAFETY: as above.
        unsafe { *packed.add(p * NR).cast::<[f32; NR]>() = values };
        for i in 0..MR {
            // SAFETY: as above.
            let factor = unsafe { *left[i].add(p * STEP) };
            for j in 0..NR {
                sums[i][j] = fma::<FMA>(factor, values[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Steps of depth that values are asked for before they are used.
const AHEAD: usize = 32;

/// Steps of the innermost loop between two tests of its end.
const UNROLLED: usize = 4;

/// Depth `p + q`.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn step<const MR: usize, const NR: usize, const FMA: bool, const STEP: usize>(
    left: &[*const f32; MR],
    right: *const f32,
    p: usize,
    q: usize,
    sums: &mut [[f32; NR]; MR],
) {
    // SAFETY: by the caller's promise.
    let values = unsafe { &*right.add((p + q) * NR).cast::<[f32; NR]>() };
    for i in 0..MR {
        // SAFETY: as above.
        let factor = unsafe { *left[i].add(p * STEP).add(q * STEP) };
        for j in 0..NR {
            sums[i][j] = fma::<FMA>(factor, values[j], sums[i][j]);
        }
    }
}

/// Stores a tile, or adds it to what is there.
///
/// # Safety
/// `MR` rows of `NR` elements at `to`, `stride` apart, are ours to write, and hold values if `add`.
#[inline(always)]
pub unsafe fn put<const MR: usize, const NR: usize>(sums: &[[f32; NR]; MR], to: *mut f32, stride: usize, add: bool) {
    for i in 0..MR {
        // SAFETY: by the caller's promise.
        let row = unsafe { &mut *to.add(i * stride).cast::<[f32; NR]>() };
        if add {
            for j in 0..NR {
                row[j] += sums[i][j];
            }
        } else {
            *row = sums[i];
        }
    }
}

/// As [`put`], for the first `rows` and `columns` of a tile at the result's edge.
///
/// # Safety
/// As there, for so many.
#[inline(always)]
pub unsafe fn put_part<const MR: usize, const NR: usize>(
    sums: &[[f32; NR]; MR],
    to: *mut f32,
    stride: usize,
    add: bool,
    (rows, columns): (usize, usize),
) {
    // A copy, so that the sums themselves are never indexed by variables and can stay in registers.
    let mut copy = [[0.0; NR]; MR];
    // SAFETY: the copy has these rows.
    unsafe { put(sums, copy.as_mut_ptr().cast(), NR, false) };
    for (i, row) in copy.iter().enumerate().take(rows) {
        for (j, &sum) in row.iter().enumerate().take(columns) {
            // SAFETY: by the caller's promise.
            let element = unsafe { &mut *to.add(i * stride + j) };
            *element = if add { *element + sum } else { sum };
        }
    }
}
