//! From products of queries and keys to probabilities, tile by tile. A tile has a row for each key and a lane for each query, so that
//! maxima and sums over keys need no sums across vectors.

use super::TILE;
use super::keys::{Keys, Sight};
use super::product::{COLUMNS, ROWS};
use crate::cpu::dropout::Mask;
use crate::cpu::math::exp;

/// Lanes that are worked on together.
const LANES: usize = COLUMNS;

/// One tile: which queries and keys, of which sequence and head.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// Keys of the sequence.
    pub keys: &'a Keys,
    /// ALiBi's slope of the head.
    pub slope: f32,
    /// Which tile of queries.
    pub query_tile: usize,
    /// Which tile of keys.
    pub key_tile: usize,
    /// What the queries see of the keys.
    pub sight: Sight,
    /// Dropout of the probabilities, and the index of the head's first one.
    pub dropout: Option<(Mask, usize)>,
}

/// A key as a row of scores sees it.
#[derive(Clone, Copy)]
struct Row {
    bias: f32,
    /// The first lane that sees it; none if it is padding.
    from: i32,
}

impl Tile<'_> {
    /// Rows to work on for lanes from `first_lane` on; those after the diagonal that products of [`ROWS`] rows touch become zeros.
    #[inline(always)]
    fn rows(&self, first_lane: usize) -> usize {
        let len = self.keys.len_of(self.key_tile);
        if self.sight == Sight::Diagonal { len.min(first_lane + LANES + ROWS) } else { len }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> Row {
        let key = self.key_tile * TILE + row;
        let from = key as i64 - (self.query_tile * TILE) as i64;
        Row {
            bias: self.keys.bias(self.slope, self.query_tile, key),
            from: if self.keys.real[key] { from as i32 } else { i32::MAX },
        }
    }

    /// Lanes before this one belong to queries that attend to all keys.
    #[inline(always)]
    fn blind(&self) -> i32 {
        self.keys.first.saturating_sub(self.query_tile * TILE).min(TILE) as i32
    }

    /// The generator's states for the first row.
    #[inline(always)]
    fn states(&self, first_lane: usize) -> [u32; LANES] {
        let mut states = [0; LANES];
        if let Some((mask, first)) = self.dropout {
            let seq = self.keys.real.len();
            for (lane, state) in states.iter_mut().enumerate() {
                let query = self.query_tile * TILE + first_lane + lane;
                *state = mask.state(first + query * seq + self.key_tile * TILE);
            }
        }
        states
    }
}

/// Whether the query of a lane sees a key, and its score if so.
#[inline(always)]
fn score<const MASKED: bool>(product: f32, row: Row, lane: i32, blind: i32) -> (bool, f32) {
    if MASKED && lane < blind { (true, 0.0) } else { (!MASKED || lane >= row.from, product + row.bias) }
}

#[inline(always)]
fn lanes(values: &mut [f32], row: usize, first_lane: usize) -> &mut [f32; LANES] {
    let start = row * TILE + first_lane;
    (&mut values[start..start + LANES]).try_into().unwrap_or_else(|_| unreachable!("so many are taken"))
}

#[inline(always)]
fn lanes_of(values: &[f32], first_lane: usize) -> [f32; LANES] {
    values[first_lane..first_lane + LANES].try_into().unwrap_or_else(|_| unreachable!("so many are taken"))
}

/// Statistics of softmax for the queries of a tile, over the keys seen so far.
pub struct Softmax {
    /// Greatest scores.
    pub largest: [f32; TILE],
    /// Sums of exponentials of scores less the greatest.
    pub sums: [f32; TILE],
    /// What sums of the tiles before have to be multiplied by.
    pub shrink: [f32; TILE],
}

impl Softmax {
    /// Before any key.
    pub fn new() -> Self {
        Self { largest: [f32::MIN; TILE], sums: [0.0; TILE], shrink: [0.0; TILE] }
    }

    /// Turns products into exponentials of scores less the greatest so far, with dropout applied.
    #[inline(always)]
    pub fn add<const FMA: bool>(&mut self, tile: Tile<'_>, queries: usize, products: &mut [f32]) {
        match (tile.sight == Sight::All, tile.dropout.is_some()) {
            (true, false) => self.add_lanes::<FMA, false, false>(tile, queries, products),
            (true, true) => self.add_lanes::<FMA, false, true>(tile, queries, products),
            (false, false) => self.add_lanes::<FMA, true, false>(tile, queries, products),
            (false, true) => self.add_lanes::<FMA, true, true>(tile, queries, products),
        }
        clear_rest(tile, products);
    }

    #[inline(always)]
    fn add_lanes<const FMA: bool, const MASKED: bool, const DROPPING: bool>(
        &mut self,
        tile: Tile<'_>,
        queries: usize,
        products: &mut [f32],
    ) {
        let blind = tile.blind();
        for first_lane in (0..queries).step_by(LANES) {
            let rows = tile.rows(first_lane);
            let before = lanes_of(&self.largest, first_lane);
            let mut largest = before;
            for j in 0..rows {
                let row = tile.row(j);
                let values = lanes(products, j, first_lane);
                for l in 0..LANES {
                    let (seen, score) = score::<MASKED>(values[l], row, (first_lane + l) as i32, blind);
                    let score = if seen { score } else { f32::NEG_INFINITY };
                    values[l] = score;
                    largest[l] = if score > largest[l] { score } else { largest[l] };
                }
            }
            let states = tile.states(first_lane);
            let mut sums = [0.0; LANES];
            for j in 0..rows {
                let values = lanes(products, j, first_lane);
                for l in 0..LANES {
                    let e = exp::<FMA>(values[l] - largest[l]);
                    sums[l] += e;
                    values[l] = e;
                }
                if let (true, Some((mask, _))) = (DROPPING, tile.dropout) {
                    for l in 0..LANES {
                        values[l] *= mask.factor(Mask::advance(states[l], j as u32));
                    }
                }
            }
            for l in 0..LANES {
                let shrink = exp::<FMA>(before[l] - largest[l]);
                self.shrink[first_lane + l] = shrink;
                self.sums[first_lane + l] = self.sums[first_lane + l] * shrink + sums[l];
                self.largest[first_lane + l] = largest[l];
            }
        }
    }
}

/// Rows that only fill up a block of the product become zeros.
#[inline(always)]
fn clear_rest(tile: Tile<'_>, values: &mut [f32]) {
    let len = tile.keys.len_of(tile.key_tile);
    values[len * TILE..len.next_multiple_of(ROWS) * TILE].fill(0.0);
}

/// For the gradient: turns `products` into probabilities with dropout applied, and the gradients of these, in `gradients`, into those of
/// scores. `log_sums` and `along` have the logarithm of the sum of exponentials, and the sum over keys of probability times its gradient.
#[inline(always)]
pub fn differentiate<const FMA: bool>(
    tile: Tile<'_>,
    queries: usize,
    (log_sums, along): (&[f32; TILE], &[f32; TILE]),
    products: &mut [f32],
    gradients: &mut [f32],
) {
    let statistics = (log_sums, along);
    match (tile.sight == Sight::All, tile.dropout.is_some()) {
        (true, false) => differentiate_lanes::<FMA, false, false>(tile, queries, statistics, products, gradients),
        (true, true) => differentiate_lanes::<FMA, false, true>(tile, queries, statistics, products, gradients),
        (false, false) => differentiate_lanes::<FMA, true, false>(tile, queries, statistics, products, gradients),
        (false, true) => differentiate_lanes::<FMA, true, true>(tile, queries, statistics, products, gradients),
    }
    clear_rest(tile, products);
    clear_rest(tile, gradients);
}

#[inline(always)]
fn differentiate_lanes<const FMA: bool, const MASKED: bool, const DROPPING: bool>(
    tile: Tile<'_>,
    queries: usize,
    (log_sums, along): (&[f32; TILE], &[f32; TILE]),
    products: &mut [f32],
    gradients: &mut [f32],
) {
    let blind = tile.blind();
    for first_lane in (0..queries).step_by(LANES) {
        let (log_sums, along) = (lanes_of(log_sums, first_lane), lanes_of(along, first_lane));
        let states = tile.states(first_lane);
        for j in 0..tile.rows(first_lane) {
            let row = tile.row(j);
            let values = lanes(products, j, first_lane);
            let slopes = lanes(gradients, j, first_lane);
            for l in 0..LANES {
                let (seen, score) = score::<MASKED>(values[l], row, (first_lane + l) as i32, blind);
                let probability = exp::<FMA>(score - log_sums[l]);
                let factor = match (DROPPING, tile.dropout) {
                    (true, Some((mask, _))) => mask.factor(Mask::advance(states[l], j as u32)),
                    _ => 1.0,
                };
                let slope = probability * (slopes[l] * factor - along[l]);
                values[l] = if seen { probability * factor } else { 0.0 };
                slopes[l] = if seen { slope } else { 0.0 };
            }
        }
    }
}
