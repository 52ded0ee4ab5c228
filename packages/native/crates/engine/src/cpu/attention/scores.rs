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

    /// How each key is seen.
    #[inline(always)]
    fn all_rows(&self) -> [Row; TILE] {
        let mut rows = [Row { bias: 0.0, from: i32::MAX }; TILE];
        let first = self.key_tile * TILE;
        for (j, row) in rows[..self.keys.len_of(self.key_tile)].iter_mut().enumerate() {
            row.bias = self.keys.bias(self.slope, self.query_tile, first + j);
            if self.keys.real[first + j] {
                row.from = (first + j) as i32 - (self.query_tile * TILE) as i32;
            }
        }
        rows
    }

    /// Lanes before this one belong to queries that attend to all keys.
    #[inline(always)]
    fn blind(&self) -> i32 {
        self.keys.first.saturating_sub(self.query_tile * TILE).min(TILE) as i32
    }

    /// What dropout multiplies probabilities of a row by.
    #[inline(always)]
    fn factors<const DROPPING: bool>(&self, states: &[u32; LANES], row: usize) -> Lanes {
        match (DROPPING, self.dropout) {
            (true, Some((mask, _))) => each(|l| mask.factor(Mask::advance(states[l], row as u32))),
            _ => [1.0; LANES],
        }
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

/// For each lane whether its query sees a key, and its score if so.
#[inline(always)]
fn scores<const MASKED: bool>(products: Lanes, row: Row, first_lane: usize, blind: i32) -> ([bool; LANES], Lanes) {
    let mut seen = [true; LANES];
    let mut scores = each(|l| products[l] + row.bias);
    if MASKED {
        for l in 0..LANES {
            let lane = (first_lane + l) as i32;
            seen[l] = (lane >= row.from) | (lane < blind);
            scores[l] = if lane < blind { 0.0 } else { scores[l] };
        }
    }
    (seen, scores)
}

/// A value for each lane. They are copied from and to memory as a whole: the compiler then knows that nothing else changes meanwhile.
type Lanes = [f32; LANES];

#[inline(always)]
fn each(value: impl Fn(usize) -> f32) -> Lanes {
    let mut lanes = [0.0; LANES];
    for l in 0..LANES {
        lanes[l] = value(l);
    }
    lanes
}

#[inline(always)]
fn load(values: &[f32], start: usize) -> Lanes {
    values[start..start + LANES].try_into().unwrap_or_else(|_| unreachable!("so many are taken"))
}

#[inline(always)]
fn store(values: &mut [f32], start: usize, lanes: Lanes) {
    values[start..start + LANES].copy_from_slice(&lanes);
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
        let (blind, keys) = (tile.blind(), tile.all_rows());
        for first_lane in (0..queries).step_by(LANES) {
            let rows = tile.rows(first_lane);
            let before = load(&self.largest, first_lane);
            let mut largest = before;
            for j in 0..rows {
                let at = j * TILE + first_lane;
                let (seen, scores) = scores::<MASKED>(load(products, at), keys[j], first_lane, blind);
                let scores = each(|l| if seen[l] { scores[l] } else { f32::NEG_INFINITY });
                largest = each(|l| if scores[l] > largest[l] { scores[l] } else { largest[l] });
                store(products, at, scores);
            }
            let states = tile.states(first_lane);
            let mut sums = [0.0; LANES];
            for j in 0..rows {
                let at = j * TILE + first_lane;
                let scores = load(products, at);
                let exponentials = each(|l| exp::<FMA>(scores[l] - largest[l]));
                sums = each(|l| sums[l] + exponentials[l]);
                let factors = tile.factors::<DROPPING>(&states, j);
                store(products, at, each(|l| exponentials[l] * factors[l]));
            }
            let shrink = each(|l| exp::<FMA>(before[l] - largest[l]));
            let sums_before = load(&self.sums, first_lane);
            store(&mut self.sums, first_lane, each(|l| sums_before[l] * shrink[l] + sums[l]));
            store(&mut self.shrink, first_lane, shrink);
            store(&mut self.largest, first_lane, largest);
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
    let (blind, keys) = (tile.blind(), tile.all_rows());
    for first_lane in (0..queries).step_by(LANES) {
        let (log_sums, along) = (load(log_sums, first_lane), load(along, first_lane));
        let states = tile.states(first_lane);
        for j in 0..tile.rows(first_lane) {
            let at = j * TILE + first_lane;
            let (seen, scores) = scores::<MASKED>(load(products, at), keys[j], first_lane, blind);
            let exponentials = each(|l| exp::<FMA>(scores[l] - log_sums[l]));
            let factors = tile.factors::<DROPPING>(&states, j);
            let of_factors = load(gradients, at);
            let of_scores = each(|l| exponentials[l] * (of_factors[l] * factors[l] - along[l]));
            store(products, at, each(|l| if seen[l] { exponentials[l] * factors[l] } else { 0.0 }));
            store(gradients, at, each(|l| if seen[l] { of_scores[l] } else { 0.0 }));
        }
    }
}
