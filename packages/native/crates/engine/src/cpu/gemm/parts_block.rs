//! One block of a product in tiles of bfloat16: packs its operands in parts and multiplies them tile by tile.

use super::ahead::Ahead;
use super::amx::Tiles;
use super::block::Product;
use super::parts::{pack, strip_bytes};
use super::side::Side;
use super::target::Lines;
use super::tile::put_part;
use super::tiles_of_halves::{PAIR, SIDE, TILE_BYTES};
use crate::ops::Arithmetic;
use crate::simd::{Kernel, Simd, dispatch_at};
use memmap2::MmapMut;
use std::cell::RefCell;
use std::ops::Range;

/// Rows of the left operand that are packed at once: they stay in the second cache while all columns of the block pass by.
const CHUNK: usize = 128;

/// Computes rows `rows` and columns `columns`, which begin at pairs of tiles.
///
/// # Safety
/// The level is [`Simd::Amx`], and no other thread uses these elements of the result.
pub unsafe fn compute(arithmetic: Arithmetic, product: &Product<'_>, rows: Range<usize>, columns: Range<usize>) {
    SCRATCH.with_borrow_mut(|scratch| match arithmetic {
        Arithmetic::BFloat16 => dispatch_at(Simd::Amx, Block::<1> { product, rows, columns, scratch }),
        Arithmetic::Float32 => dispatch_at(Simd::Amx, Block::<3> { product, rows, columns, scratch }),
    });
}

/// What a thread needs for a block; kept for the next one.
#[derive(Default)]
struct Scratch {
    left: Room,
    right: Room,
    converted: Vec<f32>,
    sums: Vec<f32>,
    lines: Lines,
}

/// Memory for packed strips, in pages so large that it spreads evenly over the second cache.
#[derive(Default)]
struct Room(Option<MmapMut>);

impl Room {
    /// Room for so many bytes, where a page begins.
    fn of(&mut self, bytes: usize) -> *mut u8 {
        const PAGE: usize = 2 << 20;
        if self.0.as_ref().is_none_or(|map| map.len() < bytes + PAGE) {
            self.0 = None;
            let len = bytes.next_multiple_of(PAGE) + PAGE;
            let map = MmapMut::map_anon(len).unwrap_or_else(|error| panic!("no memory for {len} bytes: {error}"));
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            self.0 = Some(map);
        }
        let start = self.0.as_mut().map_or(std::ptr::null_mut(), |map| map.as_mut_ptr());
        start.wrapping_add(start.align_offset(PAGE))
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

struct Block<'a, const PARTS: usize> {
    product: &'a Product<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &'a mut Scratch,
}

impl<const PARTS: usize> Kernel for Block<'_, PARTS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Block { product, rows, columns, scratch } = self;
        let Product { depth, ref target, depth_step, .. } = *product;
        let Scratch { left: packed_left, right: packed_right, converted, sums, lines } = scratch;
        let in_place = target.in_place();
        let stride = columns.len().next_multiple_of(PAIR);
        if in_place.is_none() {
            sums.resize(rows.len().next_multiple_of(PAIR) * stride, 0.0);
        }
        // SAFETY: by the promise of `compute`.
        let tiles = unsafe { Tiles::open() };
        let steps = depth.div_ceil(depth_step).max(1);
        for step in 0..steps {
            let depths = step * depth_step..((step + 1) * depth_step).min(depth);
            let right = strips::<PARTS, false>(&product.right, &columns, &depths, packed_right, converted);
            for first in rows.clone().step_by(CHUNK) {
                let chunk = first..(first + CHUNK).min(rows.end);
                let left = strips::<PARTS, true>(&product.left, &chunk, &depths, packed_left, converted);
                let (to, stride, whole) = match in_place {
                    // SAFETY: within the result.
                    Some(pointer) => unsafe {
                        (
                            pointer.add(first * target.columns + columns.start),
                            target.columns,
                            (chunk.len(), columns.len()),
                        )
                    },
                    None => (
                        sums[(first - rows.start) * stride..].as_mut_ptr(),
                        stride,
                        (chunk.len().next_multiple_of(PAIR), stride),
                    ),
                };
                // While this is computed what is packed next comes nearer.
                let next = chunk.end..(chunk.end + CHUNK).min(rows.end);
                let ahead = if !next.is_empty() {
                    product.left.ahead(&next, &depths)
                } else if rows.len() <= CHUNK && step + 1 < steps {
                    product.right.ahead(&columns, &(depths.end..(depths.end + depth_step).min(depth)))
                } else {
                    Ahead::nothing()
                };
                let add = step > 0 || in_place.is_some() && target.accumulate;
                // SAFETY: the operands are packed, and the place is this block's, which is ours.
                unsafe { multiply::<PARTS>(&tiles, left, right, to, stride, whole, add, product.by_rows, ahead) };
                if step + 1 == steps && in_place.is_some() {
                    // SAFETY: the block is ours.
                    unsafe { target.finish_in_place::<true>(&chunk, &columns, lines) };
                }
            }
        }
        if in_place.is_none() {
            // SAFETY: the block is ours.
            unsafe { target.finish::<true>(&rows, &columns, sums, stride, lines) };
        }
    }
}

/// A packed operand.
#[derive(Clone, Copy)]
struct Strips {
    pointer: *const u8,
    /// Bytes from one strip to the next.
    stride: usize,
    /// Tiles of depth.
    steps: usize,
}

/// A block of an operand, packed; an even number of strips.
#[inline(always)]
fn strips<const PARTS: usize, const LEFT: bool>(
    side: &Side<'_>,
    across: &Range<usize>,
    depths: &Range<usize>,
    packed: &mut Room,
    converted: &mut Vec<f32>,
) -> Strips {
    let stride = strip_bytes(depths.len(), PARTS);
    let pointer = packed.of(across.len().next_multiple_of(PAIR) / SIDE * stride);
    if !depths.is_empty() {
        let from = side.floats(across, depths, converted);
        // SAFETY: the level has these instructions, the operand these values, and there is room.
        unsafe { pack::<PARTS, LEFT>(from, across.len(), depths.len(), pointer) };
    }
    Strips { pointer, stride, steps: stride / (PARTS * TILE_BYTES) }
}

/// All pairs of tiles of `size` rows and columns.
///
/// # Safety
/// The operands are packed for these sizes, and the place has room for them.
#[inline(always)]
unsafe fn multiply<const PARTS: usize>(
    tiles: &Tiles,
    left: Strips,
    right: Strips,
    to: *mut f32,
    stride: usize,
    (rows, columns): (usize, usize),
    add: bool,
    by_rows: bool,
    mut ahead: Ahead,
) {
    let (row_pairs, column_pairs) = (rows.div_ceil(PAIR), columns.div_ceil(PAIR));
    let (outer, inner) = if by_rows { (row_pairs, column_pairs) } else { (column_pairs, row_pairs) };
    let pair = |strips: Strips, index: usize| {
        let first = strips.pointer.wrapping_add(2 * index * strips.stride);
        [first, first.wrapping_add(strips.stride)]
    };
    let lines = ahead.lines().div_ceil((outer * inner).max(1));
    for index in 0..outer * inner {
        ahead.fetch(lines);
        let (o, i) = (index / inner, index % inner);
        let (row, column) = if by_rows { (o, i) } else { (i, o) };
        let (left_pair, right_pair) = (pair(left, row), pair(right, column));
        let (row, column) = (row * PAIR, column * PAIR);
        let to = to.wrapping_add(row * stride + column);
        // SAFETY: by the caller's promise.
        unsafe {
            if row + PAIR <= rows && column + PAIR <= columns {
                tiles.multiply::<PARTS>(left.steps, left_pair, right_pair, to, stride, add);
            } else {
                let mut sums = [[0.0_f32; PAIR]; PAIR];
                tiles.multiply::<PARTS>(left.steps, left_pair, right_pair, sums.as_mut_ptr().cast(), PAIR, false);
                put_part(&sums, to, stride, add, ((rows - row).min(PAIR), (columns - column).min(PAIR)));
            }
        }
    }
}
