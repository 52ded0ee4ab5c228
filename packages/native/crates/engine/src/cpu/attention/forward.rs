//! Attention's context, by tiles with an online softmax (Dao et al., 2022): no probabilities are kept.

use super::keys::{Keys, Sight};
use super::product::{COLUMNS, Left, Part, product};
use super::scores::Softmax;
use super::workspace::{Workspace, padded, transpose};
use super::{Head, TILE};
use crate::error::Result;
use crate::simd::FmaKernel;
use crate::storage::FloatsMut;
use crate::threads::SharedMut;
use std::ops::Range;

/// The context of some tiles of queries of one head.
pub struct Forward<'a> {
    /// Which head, and its operands.
    pub head: Head<'a>,
    /// Keys of the sequence.
    pub keys: &'a Keys,
    /// Which tiles of queries.
    pub query_tiles: Range<usize>,
    /// `[batch, seq, heads, dim]`; rows of these queries are written.
    pub context: &'a FloatsMut<'a>,
    /// `[batch, heads, seq]`; written for these queries.
    pub log_sum_exp: SharedMut<f32>,
    /// Buffers of this thread.
    pub workspace: &'a mut Workspace,
}

impl FmaKernel for Forward<'_> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Result<()> {
        let Self { head, keys, query_tiles, context, log_sum_exp, workspace: w } = self;
        let width = padded(head.shape.dim);
        let key_tiles = query_tiles.clone().map(|tile| keys.tiles_before(tile)).max().unwrap_or(0);
        let key_count = head.shape.seq.min(key_tiles * TILE);
        head.keys().pack(0, key_count, 1.0, &mut w.keys, &mut w.row)?;
        head.values().pack(0, key_count, 1.0, &mut w.values, &mut w.row)?;
        for query_tile in query_tiles {
            let queries = keys.len_of(query_tile);
            head.queries().pack(query_tile * TILE, queries, head.scale(), &mut w.queries, &mut w.row)?;
            transpose(&w.queries, width, queries, &mut w.queries_transposed);
            let mut softmax = Softmax::new();
            let mut first = true;
            for key_tile in 0..keys.tiles_before(query_tile) {
                let sight = keys.sight(query_tile, key_tile);
                if sight == Sight::Nothing {
                    continue;
                }
                let tile = head.tile(keys, query_tile, key_tile, sight);
                let diagonal = sight == Sight::Diagonal;
                let key_count = keys.len_of(key_tile);
                product::<FMA>(
                    if diagonal { Part::RowsUpToColumn } else { Part::Whole },
                    [key_count, queries.next_multiple_of(COLUMNS), width],
                    Left { data: &w.keys[key_tile * TILE * width..], row_stride: width, column_stride: 1 },
                    (&w.queries_transposed, TILE),
                    (&mut w.scores, TILE),
                    false,
                );
                softmax.add::<FMA>(tile, queries, &mut w.scores);
                if !first {
                    shrink(&mut w.context, width, &softmax.shrink[..queries]);
                }
                product::<FMA>(
                    if diagonal { Part::TermsUpToRow } else { Part::Whole },
                    [queries, width, key_count],
                    Left { data: &w.scores, row_stride: 1, column_stride: TILE },
                    (&w.values[key_tile * TILE * width..], width),
                    (&mut w.context, width),
                    !first,
                );
                first = false;
            }
            // SAFETY: each query of each head belongs to one piece of work.
            let log_sums = unsafe { log_sum_exp.range(head.statistics(query_tile * TILE, queries)) };
            for i in 0..queries {
                let sum = softmax.sums[i];
                log_sums[i] = softmax.largest[i] + sum.ln();
                let from = &w.context[i * width..][..head.shape.dim];
                // SAFETY: as above.
                unsafe {
                    context.with_range(head.context_row(query_tile * TILE + i), false, &mut w.row, |row| {
                        for (to, from) in row.iter_mut().zip(from) {
                            *to = from / sum;
                        }
                    });
                }
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn shrink(context: &mut [f32], width: usize, factors: &[f32]) {
    for (row, factor) in context.chunks_exact_mut(width).zip(factors) {
        for value in row {
            *value *= factor;
        }
    }
}
