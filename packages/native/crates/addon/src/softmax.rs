//! Softmax and cross-entropy.

use crate::numbers::{Handle, Number};
use crate::tensors::{Tensor, dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use std::sync::Arc;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{Logits, Targets};

/// Softmax of rows of `width` elements, stored as `storage`.
#[napi(catch_unwind)]
pub fn softmax(x: Handle, width: Number, storage: Number) -> Result<Handle> {
    let x = tensor("x", x)?;
    let width = width.count("width")?;
    let mut output = new_tensor(x.len, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| device.softmax(width, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// The loss, a float32 scalar, and each row's log-sum-exp.
#[napi(catch_unwind)]
pub fn cross_entropy(logits: Handle, labels: Handle, ignore_index: Number, items: f64) -> Result<Vec<Handle>> {
    let (logits, labels) = (tensor("logits", logits)?, tensor("labels", labels)?);
    let mut loss = new_tensor(1, DType::F32, Kind::Tensor)?;
    let mut log_sum_exp = new_tensor(labels.len, DType::F32, Kind::Tensor)?;
    let targets =
        Targets { labels: labels.view(), ignore_index: ignore_index.integer("ignoreIndex")?, items: items as f32 };
    with_device(|device| device.cross_entropy(logits.view(), targets, loss.view_mut(), log_sum_exp.view_mut()))
        .map_err(js_error)?;
    Ok(vec![hand_out(loss), hand_out(log_sum_exp)])
}

/// The gradient of the logits. Where `may_overwrite` says that nothing else needs these, they are float32, and JavaScript holds no view of them, the gradient
/// takes their place, and their own handle is returned.
#[napi(catch_unwind)]
pub fn cross_entropy_grad(
    output_gradient: Handle,
    logits: Handle,
    labels: Handle,
    log_sum_exp: Handle,
    ignore_index: Number,
    items: f64,
    may_overwrite: bool,
) -> Result<Handle> {
    let handle = logits;
    let (output_gradient, labels, log_sum_exp) =
        (tensor("outputGradient", output_gradient)?, tensor("labels", labels)?, tensor("logSumExp", log_sum_exp)?);
    let mut logits = tensor("logits", handle)?;
    let targets =
        Targets { labels: labels.view(), ignore_index: ignore_index.integer("ignoreIndex")?, items: items as f32 };
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
