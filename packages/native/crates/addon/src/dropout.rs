//! Dropout.

use crate::numbers::{Handle, Number};
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::Dropping;

/// `x` with elements dropped, stored as `storage`. With the same rate and seed it is also the gradient, of the gradient.
#[napi(catch_unwind)]
pub fn dropout(x: Handle, rate: f64, seed: Number, storage: Number) -> Result<Handle> {
    let x = tensor("x", x)?;
    let dropping = Dropping { rate, seed: seed.whole("seed")? };
    let mut output = new_tensor(x.len, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| device.dropout(x.view(), dropping, output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
