//! BLOOM's activation.

use crate::numbers::{Handle, Number};
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;

/// The activation of each element, stored as `storage`.
#[napi(catch_unwind)]
pub fn gelu(x: Handle, storage: Number) -> Result<Handle> {
    let x = tensor("x", x)?;
    let mut output = new_tensor(x.len, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| device.gelu(x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// `output_gradient` times its derivative at `x`.
#[napi(catch_unwind)]
pub fn gelu_grad(output_gradient: Handle, x: Handle) -> Result<Handle> {
    let (output_gradient, x) = (tensor("outputGradient", output_gradient)?, tensor("x", x)?);
    let mut d_x = new_tensor(x.len, DType::F32, Kind::Tensor)?;
    with_device(|device| device.gelu_grad(output_gradient.view(), x.view(), d_x.view_mut())).map_err(js_error)?;
    Ok(hand_out(d_x))
}
