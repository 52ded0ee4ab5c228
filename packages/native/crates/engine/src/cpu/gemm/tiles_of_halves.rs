//! Sizes of the tiles of bfloat16 that [`super::amx`] multiplies.

/// Rows and columns of a tile of sums.
pub const SIDE: usize = 16;
/// Depth of a tile of an operand.
pub const TILE_DEPTH: usize = 32;
/// Bytes of a tile.
#[cfg(target_arch = "x86_64")]
pub const TILE_BYTES: usize = 1024;
/// Rows and columns that are computed at once: two tiles each way.
pub const PAIR: usize = 2 * SIDE;
