//! Which keys each query sees, by tiles.

use super::TILE;

/// What is visible of a tile of keys for a tile of queries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing: the tile is passed over.
    Nothing,
    /// All of it.
    All,
    /// What causality lets through of a tile on the diagonal, less padding.
    Diagonal,
    /// Some: it has padding, or queries that see nothing else and so attend to all keys.
    Some,
}

/// Keys of one sequence.
pub struct Keys {
    /// Whether a key is none of padding.
    pub real: Vec<bool>,
    /// ALiBi's position of a key: how many real keys there are up to it, less 1; 0 for padding.
    pub positions: Vec<f32>,
    /// Queries before this one see padding only.
    pub first: usize,
    /// For each tile of queries what positions are counted from, so that scores are exact where they matter.
    references: Vec<f32>,
    /// For each tile how many real keys it has.
    counts: Vec<usize>,
}

impl Keys {
    /// Of one row of the mask.
    pub fn new(mask: &[i32]) -> Self {
        let mut sum = 0.0;
        let mut sums = Vec::with_capacity(mask.len());
        for &m in mask {
            sum += m as f32;
            sums.push(sum);
        }
        Self {
            real: mask.iter().map(|&m| m != 0).collect(),
            positions: mask.iter().zip(&sums).map(|(&m, sum)| (sum - 1.0) * m as f32).collect(),
            first: mask.iter().position(|&m| m != 0).unwrap_or(mask.len()),
            references: sums.chunks(TILE).map(|tile| tile[tile.len() - 1] - 1.0).collect(),
            counts: mask.chunks(TILE).map(|tile| tile.iter().filter(|&&m| m != 0).count()).collect(),
        }
    }

    /// Tiles of the sequence.
    pub fn tiles(&self) -> usize {
        self.counts.len()
    }

    /// Queries or keys of a tile.
    pub fn len_of(&self, tile: usize) -> usize {
        TILE.min(self.real.len() - tile * TILE)
    }

    /// What a tile of queries sees of a tile of keys.
    pub fn sight(&self, queries: usize, keys: usize) -> Sight {
        if queries * TILE < self.first {
            Sight::Some
        } else if keys > queries || self.counts[keys] == 0 {
            Sight::Nothing
        } else if keys == queries {
            Sight::Diagonal
        } else if self.counts[keys] == TILE {
            Sight::All
        } else {
            Sight::Some
        }
    }

    /// Tiles of keys that may be visible for a tile of queries.
    pub fn tiles_before(&self, queries: usize) -> usize {
        if queries * TILE < self.first { self.tiles() } else { queries + 1 }
    }

    /// What ALiBi adds to the scores of a key.
    #[inline(always)]
    pub fn bias(&self, slope: f32, queries: usize, key: usize) -> f32 {
        slope * (self.positions[key] - self.references[queries])
    }
}
