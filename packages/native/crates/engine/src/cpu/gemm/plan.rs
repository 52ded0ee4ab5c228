//! How a product of some shape is computed: which operand is which, and in what blocks.

use super::block::{Product, tile_size};
use super::side::Side;
use super::target::Target;
use super::tiles_of_halves::{PAIR, SIDE, TILE_DEPTH};
use crate::ops::{Arithmetic, Epilogue, GemmShape};
use crate::simd::Simd;
use crate::storage::FloatsMut;
use crate::threads::thread_count;
use std::ops::Range;

/// Up to so many columns (or rows) the other operand is read where it lies: it is not used often enough for copies to pay.
const NARROW: usize = 128;
/// Rows of a block of such a product.
const NARROW_ROWS: usize = 48;
/// Depth that is summed in registers; a panel of the right operand of this depth is about as large as the first cache.
const DEPTH: usize = 384;
/// Rows of a block of the left operand: of this depth about as large as the second cache. More rows, fewer passes over the right operand.
const ROWS: usize = 384;
/// Columns of a block.
const COLUMNS: usize = 512;
/// The same where the left operand lies column after column, which takes longest to pack: fewer passes over it.
const WIDE_COLUMNS: usize = 1024;
/// Columns of the right operand that are packed at once.
const GROUP: usize = 128;
/// Up to this depth results are written row after row: they are what most time goes to.
const SHALLOW: usize = 128;
/// Blocks for each thread at least, if the product is large enough to be cut into so many.
const BLOCKS: usize = 2;

/// Depth that is summed in AMX's tiles before sums are put into the result: a pair of strips of the right operand of this depth takes two thirds of
/// a first cache of 48 KB, in three parts all of it.
const BF16_DEPTH: usize = 512;
const FLOAT_PARTS_DEPTH: usize = 256;
/// Columns of a block of the right operand that AMX multiplies: of this depth half of the second cache. More columns, fewer passes over the left operand.
const TILED_COLUMNS: usize = 512;
/// Rows of a block of the left operand.
const TILED_ROWS: usize = 1024;

/// See the module.
pub struct Plan {
    /// Multiplied in AMX's tiles, in this arithmetic.
    pub tiled: Option<Arithmetic>,
    /// Whether the transpose is computed.
    transposed: bool,
    /// Whether the left operand (after that) is read where it lies.
    pub narrow: bool,
    rows: usize,
    pub columns: usize,
    pub depth: usize,
    /// What is summed in registers at once. The bits depend on it, so it must depend on the shape only.
    pub depth_step: usize,
    block_rows: usize,
    block_columns: usize,
    caller_columns: usize,
}

impl Plan {
    /// For `entries` products of this shape and these layouts.
    pub fn new(
        level: Simd,
        arithmetic: Arithmetic,
        shape: GemmShape,
        a: &Side<'_>,
        b: &Side<'_>,
        entries: usize,
    ) -> Self {
        let GemmShape { m, n, k } = shape;
        // Smaller products would multiply zeros for the most part.
        let tiled = (level == Simd::Amx && m.min(n) >= SIDE && k >= TILE_DEPTH).then_some(arithmetic);
        let transposed = m <= NARROW && m < n && b.along == 1;
        let (rows, columns, left) = if transposed { (n, m, b) } else { (m, n, a) };
        let narrow = tiled.is_none() && columns <= NARROW && columns < rows && left.along == 1;
        // Of few rows each block packs the left operand anew for few columns: one for each thread is best.
        let each = if rows <= NARROW { 1 } else { BLOCKS };
        let wanted = (each * thread_count()).div_ceil(entries.max(1));
        let wanted = if thread_count() == 1 { 1 } else { wanted };
        let limits = match (narrow, left.along) {
            _ if tiled.is_some() => (TILED_ROWS, TILED_COLUMNS),
            (true, _) => (NARROW_ROWS, columns),
            (false, 1) => (ROWS, COLUMNS),
            (false, _) => (ROWS, WIDE_COLUMNS),
        };
        let tile = if tiled.is_some() { (PAIR, PAIR) } else { tile_size(level) };
        let (block_rows, block_columns) = block_size((rows, columns), tile, limits, wanted);
        let depth_step = match tiled {
            Some(Arithmetic::BFloat16) => even_step(k, BF16_DEPTH, TILE_DEPTH),
            Some(Arithmetic::Float32) => even_step(k, FLOAT_PARTS_DEPTH, TILE_DEPTH),
            None => even_step(k, DEPTH, 1),
        };
        let caller_columns = n;
        Self {
            tiled,
            transposed,
            narrow,
            rows,
            columns,
            depth: k,
            depth_step,
            block_rows,
            block_columns,
            caller_columns,
        }
    }

    /// The operands as left and right ones.
    pub fn sides<'a>(&self, a: Side<'a>, b: Side<'a>) -> (Side<'a>, Side<'a>) {
        if self.transposed { (b, a) } else { (a, b) }
    }

    /// One product, which goes to `sink` from element `from` on.
    pub fn product<'a>(
        &self,
        a: Side<'a>,
        b: Side<'a>,
        sink: &'a FloatsMut<'a>,
        from: usize,
        packed_right: Option<&'a [f32]>,
        accumulate: bool,
        epilogue: Epilogue<'a>,
    ) -> Product<'a> {
        let (left, right) = self.sides(a, b);
        let target =
            Target { sink, from, columns: self.caller_columns, transposed: self.transposed, accumulate, epilogue };
        let shallow = self.depth <= SHALLOW;
        Product {
            depth: self.depth,
            left,
            right,
            target,
            depth_step: self.depth_step,
            left_in_place: self.narrow,
            packed_right,
            group: if shallow { WIDE_COLUMNS } else { GROUP },
            by_rows: shallow,
        }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block_rows) * self.columns.div_ceil(self.block_columns)
    }

    /// Rows and columns of a block.
    pub fn block(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let across = self.columns.div_ceil(self.block_columns);
        let (row, column) = (index / across * self.block_rows, index % across * self.block_columns);
        (row..(row + self.block_rows).min(self.rows), column..(column + self.block_columns).min(self.columns))
    }
}

/// Rows and columns of a block: multiples of the tile's, about even, and `wanted` blocks or more. Bits do not depend on them.
fn block_size(
    (rows, columns): (usize, usize),
    (tile_rows, tile_columns): (usize, usize),
    mut limits: (usize, usize),
    wanted: usize,
) -> (usize, usize) {
    loop {
        let size = (even_step(rows, limits.0, tile_rows), even_step(columns, limits.1, tile_columns));
        if rows.div_ceil(size.0) * columns.div_ceil(size.1) >= wanted {
            return size;
        }
        // The longer side is cut, as packing costs least for blocks that are about square.
        if limits.1 > 4 * tile_columns && (columns >= rows || limits.0 <= 4 * tile_rows) {
            limits.1 = size.1 / 2;
        } else if limits.0 > 4 * tile_rows {
            limits.0 = size.0 / 2;
        } else {
            return size;
        }
    }
}

/// The step that cuts `length` into as few parts as `limit` allows, of about the same length, which is a multiple of `unit`.
fn even_step(length: usize, limit: usize, unit: usize) -> usize {
    let parts = length.div_ceil(limit.max(1)).max(1);
    length.div_ceil(parts).next_multiple_of(unit).max(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::View;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_cover_the_result_once(m in 1_usize..900, n in 1_usize..3000, k in 0_usize..900, by_columns in any::<bool>()) {
            let side = |along| Side { view: View::of(&[0.0_f32; 0]), across: 1, along };
            let plan = Plan::new(Simd::Avx2, Arithmetic::Float32, GemmShape { m, n, k }, &side(1), &side(if by_columns { 1 } else { 7 }), 1);
            let mut cells = 0;
            for index in 0..plan.blocks() {
                let (rows, columns) = plan.block(index);
                prop_assert!(!rows.is_empty() && !columns.is_empty());
                prop_assert!(rows.start % 6 == 0 && columns.start % 16 == 0);
                cells += rows.len() * columns.len();
            }
            prop_assert_eq!(cells, m * n);
        }
    }
}
