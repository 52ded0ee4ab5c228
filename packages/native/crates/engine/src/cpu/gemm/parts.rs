//! Operands of a product as tiles of bfloat16, in one part (the rounded value) or in three that sum up to the float32 value.
//!
//! What is packed: strips of 16 rows of the left operand, or columns of the right one; in each, tiles of 32 depths one after another, a tile's parts
//! together. What lacks at the edges is zero. See [`super::amx`] for how values lie in a tile; a left and a right one are each other's transposes, of pairs
//! of depths.

use super::side::Floats;
use super::tiles_of_halves::{PAIR, SIDE, TILE_BYTES, TILE_DEPTH};
use std::arch::x86_64::*;

/// Bytes of a strip.
pub fn strip_bytes(depth: usize, parts: usize) -> usize {
    depth.div_ceil(TILE_DEPTH) * parts * TILE_BYTES
}

/// Packs `across` rows (of a left operand) or columns (of a right one) and `depth` depths.
///
/// # Safety
/// The CPU has AVX-512 with bfloat16, the operand these values, and `packed` room for its strips.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi2")]
pub unsafe fn pack<const PARTS: usize, const LEFT: bool>(from: Floats, across: usize, depth: usize, packed: *mut u8) {
    let strip = strip_bytes(depth, PARTS);
    // Strips come in pairs, the last of which may be empty.
    let (strips, steps) = (across.next_multiple_of(PAIR) / SIDE, depth.div_ceil(TILE_DEPTH));
    for index in 0..strips * steps {
        // Along what lies together, so that memory is read in long runs.
        let (at, step) =
            if from.across == 1 { (index % strips, index / strips) } else { (index / steps, index % steps) };
        let (first, depth_from) = (at * SIDE, step * TILE_DEPTH);
        let count = across.saturating_sub(first).min(SIDE);
        let depths = (depth - depth_from).min(TILE_DEPTH);
        let pointer = from.pointer.wrapping_add(first * from.across + depth_from * from.along);
        let to = packed.wrapping_add(at * strip + step * PARTS * TILE_BYTES);
        let part = Floats { pointer, ..from };
        // SAFETY: by the caller's promise.
        unsafe {
            if from.along == 1 {
                rows_of_depths::<PARTS>(part, count, depths, to);
            } else if from.across == 1 {
                pairs_of_rows::<PARTS>(part, count, depths, to);
            } else {
                scattered::<PARTS>(part, count, depths, to);
            }
            // Depths that lie together give a row of a left tile, columns that do a row of a right one.
            if LEFT != (from.along == 1 || from.across != 1) {
                (0..PARTS).for_each(|index| transpose(to.add(index * TILE_BYTES)));
            }
        }
    }
}

/// Where the depths of each row lie together: row `i` of the tiles at `to` has its depths in pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn rows_of_depths<const PARTS: usize>(from: Floats, count: usize, depths: usize, to: *mut u8) {
    let (lower, upper) = (mask(depths), mask(depths.saturating_sub(SIDE)));
    for i in 0..SIDE {
        let (lower, upper) = if i < count { (lower, upper) } else { (0, 0) };
        let row = from.pointer.wrapping_add(i * from.across);
        // SAFETY: only what the masks let through is read, which the caller promised.
        let values =
            unsafe { (_mm512_maskz_loadu_ps(lower, row), _mm512_maskz_loadu_ps(upper, row.wrapping_add(SIDE))) };
        // SAFETY: there is room for these tiles.
        unsafe { put_row(parts_of_depths::<PARTS>(values), to, i) };
    }
}

/// Where the values of each depth lie together: row `p` of the tiles at `to` has those of depths `2p` and `2p + 1` in pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pairs_of_rows<const PARTS: usize>(from: Floats, count: usize, depths: usize, to: *mut u8) {
    let columns = mask(count);
    for p in 0..SIDE {
        let row = from.pointer.wrapping_add(2 * p * from.along);
        let [first, second] = [2 * p, 2 * p + 1].map(|depth| if depth < depths { columns } else { 0 });
        // SAFETY: only what the masks let through is read, which the caller promised.
        let (even, odd) =
            unsafe { (_mm512_maskz_loadu_ps(first, row), _mm512_maskz_loadu_ps(second, row.wrapping_add(from.along))) };
        // SAFETY: there is room for these tiles.
        unsafe { put_row(parts_of_pairs::<PARTS>(even, odd), to, p) };
    }
}

/// Where nothing lies together: as [`rows_of_depths`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn scattered<const PARTS: usize>(from: Floats, count: usize, depths: usize, to: *mut u8) {
    let mut values = [[0.0_f32; TILE_DEPTH]; SIDE];
    for (i, row) in values.iter_mut().enumerate().take(count) {
        for (p, value) in row.iter_mut().enumerate().take(depths) {
            // SAFETY: by the caller's promise.
            *value = unsafe { *from.pointer.wrapping_add(i * from.across + p * from.along) };
        }
    }
    let together = Floats { pointer: values.as_ptr().cast(), across: TILE_DEPTH, along: 1 };
    // SAFETY: all of these values are there, and there is room for these tiles.
    unsafe { rows_of_depths::<PARTS>(together, SIDE, TILE_DEPTH, to) }
}

/// Row `row` of the tiles at `to`, one for each part.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn put_row<const PARTS: usize>(parts: [__m512i; PARTS], to: *mut u8, row: usize) {
    for (index, part) in parts.into_iter().enumerate() {
        // SAFETY: by the caller's promise.
        unsafe { _mm512_store_si512(to.add(index * TILE_BYTES + row * 64).cast(), part) };
    }
}

/// The parts of 32 values, in their order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn parts_of_depths<const PARTS: usize>((mut lower, mut upper): (__m512, __m512)) -> [__m512i; PARTS] {
    std::array::from_fn(|part| {
        // SAFETY: vectors of the same size.
        let rounded: __m512i = unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(upper, lower)) };
        if part + 1 < PARTS {
            lower = _mm512_sub_ps(lower, widened(_mm512_castsi512_si256(rounded)));
            upper = _mm512_sub_ps(upper, widened(_mm512_extracti64x4_epi64::<1>(rounded)));
        }
        rounded
    })
}

/// The parts of 16 pairs of values, the even one of each in the lower half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn parts_of_pairs<const PARTS: usize>(mut even: __m512, mut odd: __m512) -> [__m512i; PARTS] {
    std::array::from_fn(|part| {
        let (low, high) = (rounded(even), _mm512_slli_epi32::<16>(rounded(odd)));
        if part + 1 < PARTS {
            even = _mm512_sub_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(low)));
            odd = _mm512_sub_ps(odd, _mm512_castsi512_ps(high));
        }
        _mm512_or_si512(low, high)
    })
}

/// The bits of the nearest bfloat16 values, in the lower halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn rounded(values: __m512) -> __m512i {
    // SAFETY: vectors of the same size.
    _mm512_cvtepu16_epi32(unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) })
}

/// Values of bfloat16 as float32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn widened(halves: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
}

/// The first `count` lanes.
fn mask(count: usize) -> u16 {
    if count >= SIDE { u16::MAX } else { (1 << count) - 1 }
}

/// Exchanges rows and columns of the pairs of a tile: of 4 × 4 pairs within the quarters of vectors, then of the quarters.
///
/// # Safety
/// There is a tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn transpose(tile: *mut u8) {
    let rows = tile.cast::<__m512i>();
    // SAFETY: a tile has 16 rows.
    let row = |i: usize| unsafe { _mm512_load_si512(rows.add(i)) };
    let quarters: [[__m512i; 4]; 4] = std::array::from_fn(|four| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| row(4 * four + i));
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab_low, cd_low),
            _mm512_unpackhi_epi64(ab_low, cd_low),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    });
    for i in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|four: usize| quarters[four][i]);
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        // SAFETY: as above.
        unsafe {
            _mm512_store_si512(rows.add(i), _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even));
            _mm512_store_si512(rows.add(4 + i), _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd));
            _mm512_store_si512(rows.add(8 + i), _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even));
            _mm512_store_si512(rows.add(12 + i), _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd));
        }
    }
}
