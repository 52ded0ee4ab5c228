//! A block's forward.

use super::block::{Affine, Block, BlockInput, BlockSpec, Sizes, attention};
use super::plan::{Keeping, forward_bytes, kept_bytes, total};
use super::slab::{Slab, Workspace};
use crate::device::Device;
use crate::error::Result;
use crate::ops::{Arithmetic, BinaryOp, Broadcast, Dropping, Epilogue, GemmShape, Matrix, MatrixMut};
use crate::storage::{View, ViewMut};

/// What becomes of what backward needs.
pub enum Keep<'a> {
    /// It is written here: [`kept_bytes`] bytes.
    Here(Slab<'a>),
    /// Backward will compute it again.
    Not,
}

/// Writes the block's result, `[batch, seq, width]`.
///
/// # Errors
/// If operands do not fit, or there is no memory left.
pub fn forward(
    device: &dyn Device,
    workspace: &mut Workspace,
    spec: &BlockSpec<'_>,
    weights: &Block<View<'_>>,
    input: &BlockInput<'_>,
    keep: Keep<'_>,
    output: ViewMut<'_>,
) -> Result<()> {
    let sizes = Sizes::of(spec, weights, input)?;
    let kept = match &keep {
        Keep::Here(_) => 0,
        Keep::Not => kept_of(&sizes)?,
    };
    let work = forward_bytes(&sizes)?;
    let mut scratch = workspace.slab(device, total(&[kept, work])?)?;
    let slab = match keep {
        Keep::Here(slab) => slab,
        Keep::Not => scratch.cut(kept)?,
    };
    let mut keeping = Keeping::of(slab, &sizes)?;
    let scratch = scratch.cut(work)?;
    run(device, spec, &sizes, weights, input, &mut keeping, scratch, Some(output))
}

/// Bytes that forward keeps for backward.
pub(super) fn kept_of(sizes: &Sizes) -> Result<usize> {
    kept_bytes(sizes.tokens, sizes.width, sizes.inner, sizes.heads, sizes.storage)
}

/// The steps. Without an `output` only what backward needs is computed.
pub(super) fn run(
    device: &dyn Device,
    spec: &BlockSpec<'_>,
    sizes: &Sizes,
    weights: &Block<View<'_>>,
    input: &BlockInput<'_>,
    keeping: &mut Keeping<'_>,
    mut scratch: Slab<'_>,
    output: Option<ViewMut<'_>>,
) -> Result<()> {
    let Sizes { tokens, width, inner, storage, .. } = *sizes;
    let mut normed = scratch.take(tokens * width, storage)?;
    let mut rest = scratch;

    let [mean, deviation] = &mut keeping.input_moments;
    let norm = &weights.input_norm;
    device.layer_norm(
        spec.epsilon,
        input.hidden,
        norm.weight,
        norm.bias,
        normed.reborrow(),
        mean.reborrow(),
        deviation.reborrow(),
    )?;
    linear(device, tokens, normed.as_view(), &weights.query_key_value, keeping.qkv.reborrow(), None)?;
    let attended = attention(spec, sizes, input, keeping.qkv.as_view());
    device.bloom_attention(attended, keeping.context.reborrow(), keeping.log_sum_exp.reborrow())?;
    let residual = if spec.residual_after_norm { normed.as_view() } else { input.hidden };
    let [first, second] = spec.hidden_droppings;
    let context = keeping.context.as_view();
    dropped_linear(device, tokens, context, &weights.dense, first, residual, keeping.middle.reborrow(), rest.again())?;

    let [mean, deviation] = &mut keeping.post_moments;
    let norm = &weights.post_norm;
    let middle = keeping.middle.as_view();
    device.layer_norm(
        spec.epsilon,
        middle,
        norm.weight,
        norm.bias,
        normed.reborrow(),
        mean.reborrow(),
        deviation.reborrow(),
    )?;
    linear(device, tokens, normed.as_view(), &weights.up, keeping.up.reborrow(), None)?;
    let Some(output) = output else { return Ok(()) };
    let mut activated = rest.take(tokens * inner, storage)?;
    device.gelu(keeping.up.as_view(), activated.reborrow())?;
    let residual = if spec.residual_after_norm { normed.as_view() } else { middle };
    dropped_linear(device, tokens, activated.as_view(), &weights.down, second, residual, output, rest)
}

/// `output = x weightᵀ + bias (+ residual)`
fn linear(
    device: &dyn Device,
    rows: usize,
    x: View<'_>,
    weights: &Affine<View<'_>>,
    output: ViewMut<'_>,
    residual: Option<View<'_>>,
) -> Result<()> {
    let n = weights.bias.len();
    let k = weights.weight.len() / n.max(1);
    device.gemm(
        Arithmetic::of(x.dtype()),
        GemmShape { m: rows, n, k },
        Matrix::row_major(x, k),
        Matrix::row_major(weights.weight, k).transposed(),
        MatrixMut { data: output },
        false,
        Epilogue { bias: Some(weights.bias), residual, gelu: false },
    )
}

/// `output = dropout(x weightᵀ + bias) + residual`
fn dropped_linear(
    device: &dyn Device,
    rows: usize,
    x: View<'_>,
    weights: &Affine<View<'_>>,
    dropping: Dropping,
    residual: View<'_>,
    mut output: ViewMut<'_>,
    mut scratch: Slab<'_>,
) -> Result<()> {
    if dropping.rate == 0.0 {
        return linear(device, rows, x, weights, output, Some(residual));
    }
    let mut dropped = scratch.take(output.len(), output.dtype())?;
    linear(device, rows, x, weights, output.reborrow(), None)?;
    device.dropout(output.as_view(), dropping, dropped.reborrow())?;
    let shapes = Broadcast::new(&[residual.len()], &[residual.len()])?;
    device.binary(BinaryOp::Add, &shapes, dropped.as_view(), residual, output)
}
