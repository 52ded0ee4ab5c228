//! Layer normalization.

use crate::numbers::{Handle, Number};
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{AddTo, LayerNormGradients, RowMoments};

/// `x [rows, width]` normalized: the output (stored as `storage`), each row's mean and inverse deviation.
#[napi(catch_unwind)]
pub fn layer_norm(x: Handle, weight: Handle, bias: Handle, epsilon: f64, storage: Number) -> Result<Vec<Handle>> {
    let (x, weight, bias) = (tensor("x", x)?, tensor("weight", weight)?, tensor("bias", bias)?);
    let rows = x.len / weight.len.max(1);
    let mut output = new_tensor(x.len, dtype_of("storage", storage)?, Kind::Tensor)?;
    let mut mean = new_tensor(rows, DType::F32, Kind::Tensor)?;
    let mut inverse_deviation = new_tensor(rows, DType::F32, Kind::Tensor)?;
    with_device(|device| {
        device.layer_norm(
            epsilon as f32,
            x.view(),
            weight.view(),
            bias.view(),
            output.view_mut(),
            mean.view_mut(),
            inverse_deviation.view_mut(),
        )
    })
    .map_err(js_error)?;
    Ok(vec![hand_out(output), hand_out(mean), hand_out(inverse_deviation)])
}

/// The gradients of `x`, `weight` and `bias`.
#[napi(catch_unwind)]
pub fn layer_norm_grad(
    output_gradient: Handle,
    x: Handle,
    weight: Handle,
    mean: Handle,
    inverse_deviation: Handle,
) -> Result<Vec<Handle>> {
    let (output_gradient, x, weight) =
        (tensor("outputGradient", output_gradient)?, tensor("x", x)?, tensor("weight", weight)?);
    let (mean, inverse_deviation) = (tensor("mean", mean)?, tensor("inverseDeviation", inverse_deviation)?);
    let mut d_x = new_tensor(x.len, DType::F32, Kind::Tensor)?;
    let mut d_weight = new_tensor(weight.len, DType::F32, Kind::Tensor)?;
    let mut d_bias = new_tensor(weight.len, DType::F32, Kind::Tensor)?;
    with_device(|device| {
        device.layer_norm_grad(
            output_gradient.view(),
            x.view(),
            weight.view(),
            RowMoments { mean: mean.view(), inverse_deviation: inverse_deviation.view() },
            LayerNormGradients { x: d_x.view_mut(), weight: d_weight.view_mut(), bias: d_bias.view_mut() },
            AddTo::default(),
        )
    })
    .map_err(js_error)?;
    Ok(vec![hand_out(d_x), hand_out(d_weight), hand_out(d_bias)])
}
