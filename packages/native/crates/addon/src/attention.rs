//! BLOOM's attention and its gradient.

use crate::numbers::{Handle, Number, counts};
use crate::sizes::{expect_len, product};
use crate::tensors::{Tensor, dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{AttentionInput, AttentionShape, Dropping};

/// What both directions take, checked.
fn input<'a>(
    (qkv, mask, slopes): (&'a Tensor, &'a Tensor, &'a [f32]),
    [batch, seq, dim]: [Number; 3],
    (rate, seed): (f64, Number),
) -> Result<AttentionInput<'a>> {
    let [batch, seq, dim] = counts([("batch", batch), ("seq", seq), ("dim", dim)])?;
    let (heads, tokens) = (slopes.len(), product(&[batch, seq])?);
    expect_len("attention: qkv", qkv, product(&[tokens, 3, heads, dim])?)?;
    expect_len("attention: mask", mask, tokens)?;
    Ok(AttentionInput {
        shape: AttentionShape { batch, seq, heads, dim },
        qkv: qkv.view(),
        mask: mask.view(),
        slopes,
        dropping: Dropping { rate, seed: seed.whole("seed")? },
    })
}

/// Attention of `qkv [batch, seq, heads, 3, dim]` (a slope for each head), stored as `storage`, and what its gradient needs besides.
#[napi(catch_unwind)]
pub fn bloom_attention(
    qkv: Handle,
    mask: Handle,
    slopes: &[f32],
    batch: Number,
    seq: Number,
    dim: Number,
    rate: f64,
    seed: Number,
    storage: Number,
) -> Result<Vec<Handle>> {
    let (qkv, mask) = (tensor("qkv", qkv)?, tensor("mask", mask)?);
    let input = input((&qkv, &mask, slopes), [batch, seq, dim], (rate, seed))?;
    let mut context = new_tensor(input.shape.context_len(), dtype_of("storage", storage)?, Kind::Tensor)?;
    let mut log_sum_exp = new_tensor(input.shape.rows(), DType::F32, Kind::Tensor)?;
    with_device(|device| device.bloom_attention(input, context.view_mut(), log_sum_exp.view_mut()))
        .map_err(js_error)?;
    Ok(vec![hand_out(context), hand_out(log_sum_exp)])
}

/// The gradient of `qkv` for that of the context, in float32.
#[napi(catch_unwind)]
pub fn bloom_attention_gradient(
    context_gradient: Handle,
    qkv: Handle,
    mask: Handle,
    context: Handle,
    log_sum_exp: Handle,
    slopes: &[f32],
    batch: Number,
    seq: Number,
    dim: Number,
    rate: f64,
    seed: Number,
) -> Result<Handle> {
    let (context_gradient, qkv, mask) =
        (tensor("contextGradient", context_gradient)?, tensor("qkv", qkv)?, tensor("mask", mask)?);
    let (context, log_sum_exp) = (tensor("context", context)?, tensor("logSumExp", log_sum_exp)?);
    let input = input((&qkv, &mask, slopes), [batch, seq, dim], (rate, seed))?;
    let mut gradient = new_tensor(input.shape.qkv_len(), DType::F32, Kind::Tensor)?;
    with_device(|device| {
        device.bloom_attention_gradient(
            input,
            context_gradient.view(),
            context.view(),
            log_sum_exp.view(),
            gradient.view_mut(),
        )
    })
    .map_err(js_error)?;
    Ok(hand_out(gradient))
}
