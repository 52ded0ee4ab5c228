//! Attention's gradient: probabilities are computed again tile by tile, from the sums that forward left (Dao, 2023).

use super::keys::{Keys, Sight};
use super::product::{COLUMNS, Left, Part, product};
use super::scores::{Tile, differentiate};
use super::workspace::{Rows, Workspace, padded, transpose};
use super::{Head, TILE};
use crate::error::Result;
use crate::simd::FmaKernel;
use crate::storage::FloatsMut;

/// The gradient of queries, keys and values of one head.
pub struct Backward<'a> {
    /// Which head, and its operands.
    pub head: Head<'a>,
    /// Keys of the sequence.
    pub keys: &'a Keys,
    /// The head's rows of the gradient of the context.
    pub context_gradient: Rows<'a>,
    /// The head's rows of the context.
    pub context: Rows<'a>,
    /// `[batch, heads, seq]`, of forward.
    pub log_sum_exp: &'a [f32],
    /// As queries, keys and values lie; the head's rows are written.
    pub qkv_gradient: &'a FloatsMut<'a>,
    /// Buffers of this thread.
    pub workspace: &'a mut Workspace,
}

impl FmaKernel for Backward<'_> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Result<()> {
        let Self { head, keys, context_gradient, context, log_sum_exp, qkv_gradient, workspace: w } = self;
        let (seq, width) = (head.shape.seq, padded(head.shape.dim));
        head.keys().pack(0, seq, 1.0, &mut w.keys, &mut w.row)?;
        head.values().pack(0, seq, 1.0, &mut w.values, &mut w.row)?;
        w.key_gradients[..keys.tiles() * TILE * width].fill(0.0);
        w.value_gradients[..keys.tiles() * TILE * width].fill(0.0);
        for query_tile in 0..keys.tiles() {
            let (first, queries) = (query_tile * TILE, keys.len_of(query_tile));
            context_gradient.pack(first, queries, 1.0, &mut w.context, &mut w.row)?;
            w.query_gradients[..TILE * width].fill(0.0);
            // Where only the last token counts, most queries of the last layer have none.
            if w.context[..queries * width].iter().any(|&gradient| gradient != 0.0) {
                let mut statistics = Statistics { log_sums: [0.0; TILE], along: [0.0; TILE] };
                statistics.log_sums[..queries].copy_from_slice(&log_sum_exp[head.statistics(first, queries)]);
                for i in 0..queries {
                    statistics.along[i] = dot(context.row(first + i, &mut w.row)?, &w.context[i * width..]);
                }
                head.queries().pack(first, queries, head.scale(), &mut w.queries, &mut w.row)?;
                transpose(&w.queries, width, queries, &mut w.queries_transposed);
                transpose(&w.context, width, queries, &mut w.context_transposed);
                for key_tile in 0..keys.tiles_before(query_tile) {
                    let sight = keys.sight(query_tile, key_tile);
                    if sight != Sight::Nothing {
                        tile::<FMA>(head.tile(keys, query_tile, key_tile, sight), queries, width, &statistics, w);
                    }
                }
            }
            write(&head, 0, first, queries, &w.query_gradients, head.scale(), qkv_gradient, &mut w.row);
        }
        write(&head, 1, 0, seq, &w.key_gradients, 1.0, qkv_gradient, &mut w.row);
        write(&head, 2, 0, seq, &w.value_gradients, 1.0, qkv_gradient, &mut w.row);
        Ok(())
    }
}

/// Of a tile's queries.
struct Statistics {
    /// Logarithms of sums of exponentials.
    log_sums: [f32; TILE],
    /// Sums over keys of probability times its gradient, which equal those of the context times its gradient.
    along: [f32; TILE],
}

/// Sum of products of `a` with as many elements of `b`.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; COLUMNS];
    let (blocks, rest) = a.as_chunks::<COLUMNS>();
    for (a, b) in blocks.iter().zip(b.as_chunks::<COLUMNS>().0) {
        for i in 0..COLUMNS {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = rest.iter().zip(&b[blocks.len() * COLUMNS..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Adds what a tile gives to the gradients.
#[inline(always)]
fn tile<const FMA: bool>(tile: Tile<'_>, queries: usize, width: usize, statistics: &Statistics, w: &mut Workspace) {
    let keys = tile.keys.len_of(tile.key_tile);
    let start = tile.key_tile * TILE * width;
    let part = |part| if tile.sight == Sight::Diagonal { part } else { Part::Whole };
    let scores = [keys, queries.next_multiple_of(COLUMNS), width];
    for (left, right, result) in
        [(&w.keys, &w.queries_transposed, &mut w.scores), (&w.values, &w.context_transposed, &mut w.score_gradients)]
    {
        let left = Left { data: &left[start..], row_stride: width, column_stride: 1 };
        product::<FMA>(part(Part::RowsUpToColumn), scores, left, (right, TILE), (result, TILE), false);
    }
    let Statistics { log_sums, along } = statistics;
    differentiate::<FMA>(tile, queries, (log_sums, along), &mut w.scores, &mut w.score_gradients);
    for (left, right, result) in
        [(&w.scores, &w.context, &mut w.value_gradients), (&w.score_gradients, &w.queries, &mut w.key_gradients)]
    {
        let left = Left { data: left, row_stride: TILE, column_stride: 1 };
        let result = (&mut result[start..], width);
        product::<FMA>(part(Part::TermsFromRow), [keys, width, queries], left, (right, width), result, true);
    }
    product::<FMA>(
        part(Part::TermsUpToRow),
        [queries, width, keys],
        Left { data: &w.score_gradients, row_stride: 1, column_stride: TILE },
        (&w.keys[start..], width),
        (&mut w.query_gradients, width),
        true,
    );
}

/// Stores rows of a gradient: of queries (0), keys (1) or values (2).
#[inline(always)]
fn write(
    head: &Head<'_>,
    which: usize,
    first: usize,
    count: usize,
    from: &[f32],
    scale: f32,
    to: &FloatsMut<'_>,
    scratch: &mut Vec<f32>,
) {
    let width = padded(head.shape.dim);
    for i in 0..count {
        let from = &from[i * width..][..head.shape.dim];
        // SAFETY: rows of a head belong to one piece of work.
        unsafe {
            to.with_range(head.qkv_row(which, first + i), false, scratch, |row| {
                for (to, from) in row.iter_mut().zip(from) {
                    *to = from * scale;
                }
            });
        }
    }
}
