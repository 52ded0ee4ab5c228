//! Softmax and cross-entropy.

use crate::tensors::{Tensor, dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use std::sync::Arc;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{Logits, Targets};

/// Softmax of rows of `width` elements, stored as `storage`.
#[napi(catch_unwind)]
pub fn softmax(x: u32, width: u32, storage: u8) -> Result<u32> {
    let x = tensor(x)?;
    let mut output = new_tensor(x.len, dtype_of(storage)?, Kind::Tensor)?;
    with_device(|device| device.softmax(width as usize, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// The loss, a float32 scalar, and each row's log-sum-exp.
#[napi(catch_unwind)]
pub fn cross_entropy(logits: u32, labels: u32, ignore_index: i32, items: f64) -> Result<Vec<u32>> {
    let (logits, labels) = (tensor(logits)?, tensor(labels)?);
    let mut loss = new_tensor(1, DType::F32, Kind::Tensor)?;
    let mut log_sum_exp = new_tensor(labels.len, DType::F32, Kind::Tensor)?;
    let targets = Targets { labels: labels.view(), ignore_index, items: items as f32 };
    with_device(|device| device.cross_entropy(logits.view(), targets, loss.view_mut(), log_sum_exp.view_mut()))
        .map_err(js_error)?;
    Ok(vec![hand_out(loss), hand_out(log_sum_exp)])
}

/// The gradient of the logits. Where `may_overwrite` says that nothing else needs these, they are float32, and JavaScript holds no view of them, the gradient
/// takes their place, and their own handle is returned.
#[napi(catch_unwind)]
pub fn cross_entropy_grad(
    output_gradient: u32,
    logits: u32,
    labels: u32,
    log_sum_exp: u32,
    ignore_index: i32,
    items: f64,
    may_overwrite: bool,
) -> Result<u32> {
    let handle = logits;
    let (output_gradient, labels, log_sum_exp) = (tensor(output_gradient)?, tensor(labels)?, tensor(log_sum_exp)?);
    let mut logits = tensor(handle)?;
    let targets = Targets { labels: labels.view(), ignore_index, items: items as f32 };
    if may_overwrite && is_only_use(&logits) {
        with_device(|device| {
            let gradient = logits.view_mut();
            device.cross_entropy_grad(output_gradient.view(), Logits::InGradient, targets, log_sum_exp.view(), gradient)
        })
        .map_err(js_error)?;
        return Ok(handle);
    }
    let mut gradient = new_tensor(logits.len, DType::F32, Kind::Tensor)?;
    with_device(|device| {
        let logits = Logits::Apart(logits.view());
        device.cross_entropy_grad(output_gradient.view(), logits, targets, log_sum_exp.view(), gradient.view_mut())
    })
    .map_err(js_error)?;
    Ok(hand_out(gradient))
}

/// Whether a float32 tensor just taken from its handle is known by that handle only: two references, that and ours.
fn is_only_use(tensor: &Tensor) -> bool {
    tensor.dtype == DType::F32 && Arc::strong_count(&tensor.buffer) == 2
}
