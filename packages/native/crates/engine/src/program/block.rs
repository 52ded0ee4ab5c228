//! What a block is computed of.

use crate::error::{EngineError, Result};
use crate::ops::{AttentionInput, AttentionShape, Dropping};
use crate::storage::{DType, View, ViewMut};

/// Weight and bias of one step.
pub struct Affine<T> {
    /// `[out, in]` of products, `[width]` of norms.
    pub weight: T,
    /// `[out]`
    pub bias: T,
}

/// Something for each parameter of a block, in the order of its steps.
pub struct Block<T> {
    /// The norm before attention.
    pub input_norm: Affine<T>,
    /// `[3 width, width]`, heads interleaved: `[head, 3, dim]`.
    pub query_key_value: Affine<T>,
    /// `[width, width]`, behind attention.
    pub dense: Affine<T>,
    /// The norm behind attention.
    pub post_norm: Affine<T>,
    /// `[inner, width]`
    pub up: Affine<T>,
    /// `[width, inner]`
    pub down: Affine<T>,
}

impl<T> Block<T> {
    /// From weight and bias of each step in turn.
    pub fn from_list(list: [T; 12]) -> Self {
        let [w1, b1, w2, b2, w3, b3, w4, b4, w5, b5, w6, b6] = list;
        Self {
            input_norm: Affine { weight: w1, bias: b1 },
            query_key_value: Affine { weight: w2, bias: b2 },
            dense: Affine { weight: w3, bias: b3 },
            post_norm: Affine { weight: w4, bias: b4 },
            up: Affine { weight: w5, bias: b5 },
            down: Affine { weight: w6, bias: b6 },
        }
    }
}

impl Block<View<'_>> {
    /// Width of hidden states.
    pub fn width(&self) -> usize {
        self.input_norm.weight.len()
    }

    /// Width between `up` and `down`.
    pub fn inner(&self) -> usize {
        self.up.bias.len()
    }
}

/// Where the gradient of a parameter goes: float32, as many elements as the parameter has.
pub struct Target<'a> {
    /// The gradient.
    pub to: ViewMut<'a>,
    /// Add to what is there, rather than overwriting it.
    pub accumulate: bool,
}

/// Constants of a block, and what this run drops.
#[derive(Clone, Copy)]
pub struct BlockSpec<'a> {
    /// Of both norms.
    pub epsilon: f32,
    /// Residuals are what the norms return.
    pub residual_after_norm: bool,
    /// ALiBi's slope of each head.
    pub slopes: &'a [f32],
    /// Of attention's probabilities.
    pub attention_dropping: Dropping,
    /// Of what `dense` and `down` give.
    pub hidden_droppings: [Dropping; 2],
    /// How activations are stored.
    pub storage: DType,
}

/// What this run computes on.
#[derive(Clone, Copy)]
pub struct BlockInput<'a> {
    /// Floats `[batch, seq, width]`.
    pub hidden: View<'a>,
    /// int32 `[batch, seq]`: 0 for padding.
    pub mask: View<'a>,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub seq: usize,
}

impl BlockInput<'_> {
    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.batch.saturating_mul(self.seq)
    }
}

/// Sizes of one run, checked.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub tokens: usize,
    pub width: usize,
    pub inner: usize,
    pub heads: usize,
    pub storage: DType,
}

impl Sizes {
    /// # Errors
    /// If parameters or input do not fit each other.
    pub fn of(spec: &BlockSpec<'_>, weights: &Block<View<'_>>, input: &BlockInput<'_>) -> Result<Self> {
        let (width, inner, heads) = (weights.width(), weights.inner(), spec.slopes.len());
        let tokens = input.tokens();
        let expected = [
            ("hidden", input.hidden.len(), tokens.saturating_mul(width)),
            ("mask", input.mask.len(), tokens),
            ("input_norm.bias", weights.input_norm.bias.len(), width),
            (
                "query_key_value.weight",
                weights.query_key_value.weight.len(),
                width.saturating_mul(width).saturating_mul(3),
            ),
            ("query_key_value.bias", weights.query_key_value.bias.len(), 3 * width),
            ("dense.weight", weights.dense.weight.len(), width.saturating_mul(width)),
            ("dense.bias", weights.dense.bias.len(), width),
            ("post_norm.weight", weights.post_norm.weight.len(), width),
            ("post_norm.bias", weights.post_norm.bias.len(), width),
            ("up.weight", weights.up.weight.len(), inner.saturating_mul(width)),
            ("down.weight", weights.down.weight.len(), inner.saturating_mul(width)),
            ("down.bias", weights.down.bias.len(), width),
        ];
        for (what, actual, expected) in expected {
            if actual != expected {
                return Err(EngineError::BadOperand(format!(
                    "block: {what} has {actual} elements; expected {expected}."
                )));
            }
        }
        if heads == 0 || width % heads != 0 || !spec.storage.is_float() {
            return Err(EngineError::BadOperand(format!(
                "block: {heads} heads do not divide a width of {width}, or {:?} stores no activations.",
                spec.storage
            )));
        }
        Ok(Self { tokens, width, inner, heads, storage: spec.storage })
    }
}

/// Attention's operands.
pub(super) fn attention<'a>(
    spec: &BlockSpec<'a>,
    sizes: &Sizes,
    input: &BlockInput<'a>,
    qkv: View<'a>,
) -> AttentionInput<'a> {
    let (heads, dim) = (sizes.heads, sizes.width / sizes.heads);
    AttentionInput {
        shape: AttentionShape { batch: input.batch, seq: input.seq, heads, dim },
        qkv,
        mask: input.mask,
        slopes: spec.slopes,
        dropping: spec.attention_dropping,
    }
}
