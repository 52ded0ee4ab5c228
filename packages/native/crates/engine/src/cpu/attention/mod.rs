//! BLOOM's attention: each head of each sequence is a piece of work (forward: some of its queries), done in a thread's own buffers.

mod backward;
mod forward;
mod keys;
mod product;
mod scores;
#[cfg(test)]
mod tests;
mod workspace;

use super::CpuDevice;
use super::dropout::Mask;
use crate::error::{EngineError, Result};
use crate::ops::{AttentionInput, AttentionShape, BloomAttention};
use crate::simd::{Simd, dispatch_fma_at, level};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::{SharedMut, map_ranges};
use backward::Backward;
use forward::Forward;
use keys::{Keys, Sight};
use scores::Tile;
use std::ops::Range;
use workspace::{Rows, Workspace, padded};

/// Queries, and keys, of a tile: a multiple of a block's rows and columns.
const TILE: usize = 96;
/// Tiles of queries of one piece of work of forward, which packs the head's keys and values anew.
const TILES_OF_FORWARD: usize = 4;

/// One head of one sequence.
#[derive(Clone, Copy)]
struct Head<'a> {
    qkv: View<'a>,
    shape: AttentionShape,
    sequence: usize,
    head: usize,
    slope: f32,
    mask: Option<Mask>,
}

impl<'a> Head<'a> {
    fn new(input: &AttentionInput<'a>, mask: Option<Mask>, index: usize) -> Self {
        let AttentionInput { shape, qkv, slopes, .. } = *input;
        let (sequence, head) = (index / shape.heads, index % shape.heads);
        Self { qkv, shape, sequence, head, slope: slopes[head], mask }
    }

    /// What products of queries and keys are multiplied by.
    fn scale(&self) -> f32 {
        1.0 / (self.shape.dim as f32).sqrt()
    }

    /// Elements of the query (0), key (1) or value (2) of a token.
    fn qkv_row(&self, which: usize, token: usize) -> Range<usize> {
        let AttentionShape { seq, heads, dim, .. } = self.shape;
        let start = (((self.sequence * seq + token) * heads + self.head) * 3 + which) * dim;
        start..start + dim
    }

    fn qkv_rows(&self, which: usize) -> Rows<'a> {
        let AttentionShape { heads, dim, .. } = self.shape;
        Rows { view: self.qkv, start: self.qkv_row(which, 0).start, stride: heads * 3 * dim, dim }
    }

    fn queries(&self) -> Rows<'a> {
        self.qkv_rows(0)
    }

    fn keys(&self) -> Rows<'a> {
        self.qkv_rows(1)
    }

    fn values(&self) -> Rows<'a> {
        self.qkv_rows(2)
    }

    /// Elements of the context of a token.
    fn context_row(&self, token: usize) -> Range<usize> {
        let AttentionShape { seq, heads, dim, .. } = self.shape;
        let start = ((self.sequence * seq + token) * heads + self.head) * dim;
        start..start + dim
    }

    fn context_rows<'v>(&self, view: View<'v>) -> Rows<'v> {
        let AttentionShape { heads, dim, .. } = self.shape;
        Rows { view, start: self.context_row(0).start, stride: heads * dim, dim }
    }

    /// Where the statistics of queries lie.
    fn statistics(&self, first: usize, count: usize) -> Range<usize> {
        let start = (self.sequence * self.shape.heads + self.head) * self.shape.seq + first;
        start..start + count
    }

    fn tile<'k>(&self, keys: &'k Keys, query_tile: usize, key_tile: usize, sight: Sight) -> Tile<'k> {
        let seq = self.shape.seq;
        let first = (self.sequence * self.shape.heads + self.head) * seq * seq;
        let dropout = self.mask.map(|mask| (mask, first));
        Tile { keys, slope: self.slope, query_tile, key_tile, sight, dropout }
    }
}

fn keys_of(input: &AttentionInput<'_>) -> Result<Vec<Keys>> {
    Ok(input.mask.slice::<i32>()?.chunks(input.shape.seq).map(Keys::new).collect())
}

fn mask_of(input: &AttentionInput<'_>) -> Result<Option<Mask>> {
    let mask = Mask::new(input.dropping)?;
    Ok((input.dropping.rate > 0.0).then_some(mask))
}

impl BloomAttention for CpuDevice {
    fn bloom_attention(&self, input: AttentionInput<'_>, context: ViewMut<'_>, log_sum_exp: ViewMut<'_>) -> Result<()> {
        forward_at(level(), input, context, log_sum_exp)
    }

    fn bloom_attention_gradient(
        &self,
        input: AttentionInput<'_>,
        context_gradient: View<'_>,
        context: View<'_>,
        log_sum_exp: View<'_>,
        qkv_gradient: ViewMut<'_>,
    ) -> Result<()> {
        backward_at(level(), input, context_gradient, context, log_sum_exp, qkv_gradient)
    }
}

fn forward_at(
    level: Simd,
    input: AttentionInput<'_>,
    context: ViewMut<'_>,
    mut log_sum_exp: ViewMut<'_>,
) -> Result<()> {
    let shape = input.shape;
    check(&input, &[("context", context.len(), shape.context_len()), ("sums", log_sum_exp.len(), shape.rows())])?;
    if shape.context_len() == 0 {
        return Ok(());
    }
    let (keys, mask) = (keys_of(&input)?, mask_of(&input)?);
    let context = FloatsMut::new(context)?;
    let log_sum_exp = SharedMut::new(log_sum_exp.slice::<f32>()?);
    let tiles = shape.seq.div_ceil(TILE);
    let pieces = tiles.div_ceil(TILES_OF_FORWARD);
    map_ranges(shape.batch * shape.heads * pieces, 1, |range| {
        let (index, piece) = (range.start / pieces, range.start % pieces);
        let query_tiles = piece * TILES_OF_FORWARD..((piece + 1) * TILES_OF_FORWARD).min(tiles);
        Workspace::with(tiles, padded(shape.dim), false, |workspace| {
            let head = Head::new(&input, mask, index);
            let keys = &keys[head.sequence];
            dispatch_fma_at(level, Forward { head, keys, query_tiles, context: &context, log_sum_exp, workspace })
        })
    })
    .into_iter()
    .collect()
}

fn backward_at(
    level: Simd,
    input: AttentionInput<'_>,
    context_gradient: View<'_>,
    context: View<'_>,
    log_sum_exp: View<'_>,
    qkv_gradient: ViewMut<'_>,
) -> Result<()> {
    let shape = input.shape;
    check(
        &input,
        &[
            ("gradient of the context", context_gradient.len(), shape.context_len()),
            ("context", context.len(), shape.context_len()),
            ("sums", log_sum_exp.len(), shape.rows()),
            ("gradient of qkv", qkv_gradient.len(), shape.qkv_len()),
        ],
    )?;
    if shape.context_len() == 0 {
        return Ok(());
    }
    let (keys, mask) = (keys_of(&input)?, mask_of(&input)?);
    let log_sum_exp = log_sum_exp.slice::<f32>()?;
    let qkv_gradient = FloatsMut::new(qkv_gradient)?;
    map_ranges(shape.batch * shape.heads, 1, |range| {
        Workspace::with(shape.seq.div_ceil(TILE), padded(shape.dim), true, |workspace| {
            let head = Head::new(&input, mask, range.start);
            let backward = Backward {
                head,
                keys: &keys[head.sequence],
                context_gradient: head.context_rows(context_gradient),
                context: head.context_rows(context),
                log_sum_exp,
                qkv_gradient: &qkv_gradient,
                workspace,
            };
            dispatch_fma_at(level, backward)
        })
    })
    .into_iter()
    .collect()
}

fn check(input: &AttentionInput<'_>, others: &[(&str, usize, usize)]) -> Result<()> {
    let AttentionInput { shape, qkv, mask, slopes, .. } = input;
    let own = [
        ("qkv", qkv.len(), shape.qkv_len()),
        ("mask", mask.len(), shape.batch * shape.seq),
        ("slopes", slopes.len(), shape.heads),
    ];
    for &(what, actual, expected) in own.iter().chain(others) {
        if actual != expected {
            return Err(EngineError::BadOperand(format!(
                "attention: {what} has {actual} elements; {shape:?} needs {expected}."
            )));
        }
    }
    Ok(())
}
