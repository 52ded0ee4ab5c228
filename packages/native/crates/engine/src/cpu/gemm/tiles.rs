//! The loop over the tiles of a block.

use super::ahead::Ahead;
use super::side::Left;
use super::tile::{put, put_part, tile};

/// Where tiles go: row `i`, column `j` of the block (or of the whole result) at `pointer + i * stride + j`.
#[derive(Clone, Copy)]
pub struct Place {
    pub pointer: *mut f32,
    pub stride: usize,
    pub add: bool,
    /// Whether there is room for whole tiles at the edges.
    pub padded: bool,
}

/// All tiles of `size` (rows and columns).
///
/// # Safety
/// The operands have these sizes, and the place may be written.
#[inline(always)]
pub unsafe fn tiles<const MR: usize, const NR: usize, const FMA: bool, const STEP: usize>(
    depth: usize,
    left: Left,
    panels: &[f32],
    panel_stride: usize,
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
        let right = panels[column / NR * panel_stride..][..depth * NR].as_ptr();
        // SAFETY: the operands have these values, and the place this tile.
        unsafe {
            let sums = tile::<MR, NR, FMA, STEP>(depth, pointers, right);
            let to = place.pointer.add(row * place.stride + column);
            let size = (rows - row, columns - column);
            if place.padded || size.0 >= MR && size.1 >= NR {
                put(&sums, to, place.stride, place.add);
            } else {
                put_part(&sums, to, place.stride, place.add, size);
            }
        }
    }
}
