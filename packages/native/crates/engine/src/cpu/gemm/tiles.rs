//! The loop over the tiles of a block.

use super::ahead::{Ahead, prefetch_write};
use super::side::{Left, Rows};
use super::tile::{put, put_part, tile, tile_packing};

/// Where tiles go: row `i`, column `j` of the block (or of the whole result) at `pointer + i * stride + j`.
#[derive(Clone, Copy)]
pub struct Place {
    pub pointer: *mut f32,
    pub stride: usize,
    pub add: bool,
    /// Whether there is room for whole tiles at the edges.
    pub padded: bool,
}

/// A block of the right operand in panels, `stride` elements apart.
#[derive(Clone, Copy)]
pub struct Panels {
    /// Written only where they are to be packed.
    pub pointer: *mut f32,
    pub stride: usize,
    /// From where they are to be packed while they are used; tiles must not go by rows then.
    pub unpacked: Option<Rows>,
}

/// All tiles of `size` (rows and columns).
///
/// # Safety
/// The operands have these sizes, and the place may be written, as may panels that are to be packed.
#[inline(always)]
pub unsafe fn tiles<const MR: usize, const NR: usize, const FMA: bool, const STEP: usize>(
    depth: usize,
    left: Left,
    panels: Panels,
    place: Place,
    (rows, columns): (usize, usize),
    by_rows: bool,
    mut ahead: Ahead,
) {
    let (row_tiles, column_tiles) = (rows.div_ceil(MR), columns.div_ceil(NR));
    let (outer, inner) = if by_rows { (row_tiles, column_tiles) } else { (column_tiles, row_tiles) };
    let lines = ahead.lines().div_ceil((outer * inner).max(1));
    for index in 0..outer * inner {
        ahead.fetch(lines);
        let (o, i) = (index / inner, index % inner);
        let (row, column) = if by_rows { (o * MR, i * NR) } else { (i * MR, o * NR) };
        let pointers: [*const f32; MR] = std::array::from_fn(|i| {
            // Rows beyond the last are read from it; nobody looks at what is computed of them.
            let offset =
                if STEP == 1 { (row + i).min(rows - 1) * left.row_stride } else { row / MR * left.panel_stride + i };
            // SAFETY: within the left operand.
            unsafe { left.pointer.add(offset) }
        });
        let right = panels.pointer.wrapping_add(column / NR * panels.stride);
        let to = place.pointer.wrapping_add(row * place.stride + column);
        if place.add {
            (0..MR).for_each(|i| prefetch_write(to.wrapping_add(i * place.stride).cast(), NR * 4));
        }
        // SAFETY: the operands have these values, and the place this tile.
        unsafe {
            let sums = match panels.unpacked {
                // The first tile that uses a panel packs it.
                Some(Rows { pointer, along }) if row == 0 => {
                    let rows = Rows { pointer: pointer.add(column), along };
                    tile_packing::<MR, NR, FMA, STEP>(depth, pointers, rows, right)
                }
                _ => tile::<MR, NR, FMA, STEP>(depth, pointers, right),
            };
            let size = (rows - row, columns - column);
            if place.padded || size.0 >= MR && size.1 >= NR {
                put(&sums, to, place.stride, place.add);
            } else {
                put_part(&sums, to, place.stride, place.add, size);
            }
        }
    }
}
