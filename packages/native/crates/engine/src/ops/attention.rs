//! BLOOM's causal self-attention with ALiBi.

use super::Dropping;
use crate::error::Result;
use crate::storage::{View, ViewMut};

/// Sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each, padding included.
    pub seq: usize,
    /// Attention heads.
    pub heads: usize,
    /// Values of a head.
    pub dim: usize,
}

impl AttentionShape {
    /// Elements of queries, keys and values together.
    pub fn qkv_len(&self) -> usize {
        3 * self.context_len()
    }

    /// Elements of what attention gives.
    pub fn context_len(&self) -> usize {
        self.rows() * self.dim
    }

    /// Queries of all heads and sequences.
    pub fn rows(&self) -> usize {
        self.batch * self.seq * self.heads
    }
}

/// What attention is computed of.
#[derive(Clone, Copy)]
pub struct AttentionInput<'a> {
    /// Sizes.
    pub shape: AttentionShape,
    /// Floats `[batch, seq, heads, 3, dim]`: query, key and value of each token and head.
    pub qkv: View<'a>,
    /// int32 `[batch, seq]`: 0 for padding, on either side.
    pub mask: View<'a>,
    /// ALiBi's slope of each head.
    pub slopes: &'a [f32],
    /// Of probabilities, counted as `[batch, heads, seq, seq]`.
    pub dropping: Dropping,
}

/// Attention and its gradient, in memory that grows with the length of sequences, not with its square.
///
/// A query sees the keys up to its own place that are not padding. Where there are none, it attends to all keys alike (also to later
/// ones), and its scores have a gradient nevertheless: in the definition by sums that is so, since adding the least float32 swallows a score.
pub trait BloomAttention {
    /// Writes `context [batch, seq, heads, dim]` and, for the gradient, `log_sum_exp [batch, heads, seq]` in float32: the logarithm of
    /// each query's sum of exponentials, less a constant that the gradient knows.
    ///
    /// # Errors
    /// If lengths do not fit the shape, or operands are of other types.
    fn bloom_attention(&self, input: AttentionInput<'_>, context: ViewMut<'_>, log_sum_exp: ViewMut<'_>) -> Result<()>;

    /// Writes the gradient of `qkv` for that of `context`.
    ///
    /// # Errors
    /// If lengths do not fit the shape, or operands are of other types.
    fn bloom_attention_gradient(
        &self,
        input: AttentionInput<'_>,
        context_gradient: View<'_>,
        context: View<'_>,
        log_sum_exp: View<'_>,
        qkv_gradient: ViewMut<'_>,
    ) -> Result<()>;
}
