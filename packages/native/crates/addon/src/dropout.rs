//! Dropout.

use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::Dropping;

/// `x` with elements dropped, stored as `storage`. With the same rate and seed it is also the gradient, of the gradient.
#[napi(catch_unwind)]
pub fn dropout(x: u32, rate: f64, seed: u32, storage: u8) -> Result<u32> {
    let x = tensor(x)?;
    let mut output = new_tensor(x.len, dtype_of(storage)?, Kind::Tensor)?;
    with_device(|device| device.dropout(x.view(), Dropping { rate, seed }, output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
