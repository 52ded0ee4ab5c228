//! How much memory a block needs, and where in it what lies.

use super::block::Sizes;
use super::slab::Slab;
use crate::error::Result;
use crate::storage::{DType, View, ViewMut};

/// The number of tokens that memory is planned for: at most an eighth more than there are, in few different sizes.
pub fn bucket(tokens: usize) -> usize {
    tokens.next_multiple_of((tokens.next_power_of_two() / 16).max(8))
}

/// Bytes that forward keeps for backward.
pub fn kept_bytes(tokens: usize, width: usize, inner: usize, heads: usize, storage: DType) -> usize {
    let sizes = Sizes { tokens: bucket(tokens), width, inner, heads, storage };
    lengths(&sizes).into_iter().map(|(len, dtype)| Slab::bytes_of(len, dtype)).sum()
}

/// Elements and storage of each part of what is kept, in their order.
fn lengths(&Sizes { tokens, width, inner, heads, storage }: &Sizes) -> [(usize, DType); 9] {
    [
        (tokens * 3 * width, storage),
        (tokens * width, storage),
        (tokens * heads, DType::F32),
        (tokens * width, storage),
        (tokens * inner, storage),
        (tokens, DType::F32),
        (tokens, DType::F32),
        (tokens, DType::F32),
        (tokens, DType::F32),
    ]
}

/// The parts of what is kept, in the order of [`lengths`].
pub(super) struct Parts<V> {
    pub qkv: V,
    pub context: V,
    pub log_sum_exp: V,
    pub middle: V,
    pub up: V,
    /// Mean and inverse deviation.
    pub input_moments: [V; 2],
    pub post_moments: [V; 2],
}

/// What forward writes for backward.
pub(super) type Keeping<'a> = Parts<ViewMut<'a>>;

/// What forward has written.
pub(super) type Kept<'a> = Parts<View<'a>>;

impl<V> Parts<V> {
    fn taken(sizes: &Sizes, mut take: impl FnMut(usize, DType) -> Result<V>) -> Result<Self> {
        let [qkv, context, log_sum_exp, middle, up, mean1, deviation1, mean2, deviation2] =
            lengths(sizes).map(|(len, dtype)| take(len, dtype));
        Ok(Self {
            qkv: qkv?,
            context: context?,
            log_sum_exp: log_sum_exp?,
            middle: middle?,
            up: up?,
            input_moments: [mean1?, deviation1?],
            post_moments: [mean2?, deviation2?],
        })
    }
}

impl<'a> Keeping<'a> {
    pub fn of(mut slab: Slab<'a>, sizes: &Sizes) -> Result<Self> {
        Self::taken(sizes, |len, dtype| slab.take(len, dtype))
    }
}

impl<'a> Kept<'a> {
    pub fn of(mut slab: Slab<'a>, sizes: &Sizes) -> Result<Self> {
        Self::taken(sizes, |len, dtype| slab.take_view(len, dtype))
    }
}

/// Bytes of workspace for forward, without what is kept: a norm's or two of `dense`'s outputs, and GELU's.
pub(super) fn forward_bytes(sizes: &Sizes) -> usize {
    let Sizes { width, inner, storage, .. } = *sizes;
    let tokens = bucket(sizes.tokens);
    2 * Slab::bytes_of(tokens * width, storage) + Slab::bytes_of(tokens * inner, storage)
}

/// Bytes of the three regions that backward works in.
pub(super) fn backward_regions(sizes: &Sizes) -> [usize; 3] {
    let Sizes { width, inner, storage, .. } = *sizes;
    let tokens = bucket(sizes.tokens);
    [
        // GELU's output, then norms' outputs with their moments.
        Slab::bytes_of(tokens * inner.max(width), storage) + 2 * Slab::bytes_of(tokens, DType::F32),
        // The inner gradient, then that of qkv.
        Slab::bytes_of(tokens * inner.max(3 * width), DType::F32),
        // Gradients of hidden states, and those of norms' weights that nobody wants.
        2 * Slab::bytes_of(tokens * width, DType::F32) + 2 * Slab::bytes_of(width, DType::F32),
    ]
}
