//! How much memory a block needs, and where in it what lies.

use super::block::Sizes;
use super::slab::Slab;
use crate::error::{EngineError, Result};
use crate::storage::{DType, View, ViewMut};

/// The number of tokens that memory is planned for: at most an eighth more than there are, in few different sizes. Of more than can be
/// counted it is the largest number, for which there is no memory.
pub fn bucket(tokens: usize) -> usize {
    let step = tokens.checked_next_power_of_two().map_or(usize::MAX / 16, |power| power / 16);
    tokens.checked_next_multiple_of(step.max(8)).unwrap_or(usize::MAX)
}

/// Bytes that forward keeps for backward.
///
/// # Errors
/// If no memory can be so large.
pub fn kept_bytes(tokens: usize, width: usize, inner: usize, heads: usize, storage: DType) -> Result<usize> {
    let sizes = Sizes { tokens: bucket(tokens), width, inner, heads, storage };
    bytes_of_all(&lengths(&sizes))
}

/// What operands take one behind the other.
fn bytes_of_all(operands: &[(usize, DType)]) -> Result<usize> {
    let bytes = operands.iter().map(|&(len, dtype)| Slab::bytes_of(len, dtype)).collect::<Result<Vec<_>>>()?;
    total(&bytes)
}

/// The sum of numbers of bytes.
///
/// # Errors
/// If no memory can be so large.
pub(super) fn total(bytes: &[usize]) -> Result<usize> {
    bytes.iter().try_fold(0usize, |sum, &bytes| sum.checked_add(bytes)).ok_or(EngineError::OutOfMemory(usize::MAX))
}

/// A number of elements; the largest number if they cannot be counted, for which there is no memory.
fn elements(rows: usize, width: usize) -> usize {
    rows.saturating_mul(width)
}

/// Elements and storage of each part of what is kept, in their order.
fn lengths(&Sizes { tokens, width, inner, heads, storage }: &Sizes) -> [(usize, DType); 9] {
    [
        (elements(tokens, width.saturating_mul(3)), storage),
        (elements(tokens, width), storage),
        (elements(tokens, heads), DType::F32),
        (elements(tokens, width), storage),
        (elements(tokens, inner), storage),
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
pub(super) fn forward_bytes(sizes: &Sizes) -> Result<usize> {
    let Sizes { width, inner, storage, .. } = *sizes;
    let tokens = bucket(sizes.tokens);
    let output = (elements(tokens, width), storage);
    bytes_of_all(&[output, output, (elements(tokens, inner), storage)])
}

/// Bytes of the three regions that backward works in.
pub(super) fn backward_regions(sizes: &Sizes) -> Result<[usize; 3]> {
    let Sizes { width, inner, storage, .. } = *sizes;
    let tokens = bucket(sizes.tokens);
    let (moment, vector) = ((tokens, DType::F32), (width, DType::F32));
    let hidden = (elements(tokens, width), DType::F32);
    Ok([
        // GELU's output, then norms' outputs with their moments.
        bytes_of_all(&[(elements(tokens, inner.max(width)), storage), moment, moment])?,
        // The inner gradient, then that of qkv.
        bytes_of_all(&[(elements(tokens, inner.max(width.saturating_mul(3))), DType::F32)])?,
        // Gradients of hidden states, and those of norms' weights that nobody wants.
        bytes_of_all(&[hidden, hidden, vector, vector])?,
    ])
}
