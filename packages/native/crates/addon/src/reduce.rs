//! Reductions along an axis.

use crate::numbers::{Handle, Number, counts};
use crate::sizes::{expect_len, product};
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::{Error, Result, Status};
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{Cumulation, ReduceShape, Reduction};

/// `[outer, reduced, inner]` to `[outer, inner]`, stored as `storage`; floats are multiplied by `factor`.
#[napi(catch_unwind)]
pub fn reduce(
    x: Handle,
    reduction: Number,
    outer: Number,
    reduced: Number,
    inner: Number,
    factor: f64,
    storage: Number,
) -> Result<Handle> {
    let x = tensor("x", x)?;
    let code = reduction.whole("reduction")?;
    let reduction = u8::try_from(code)
        .ok()
        .and_then(Reduction::from_code)
        .ok_or_else(|| Error::new(Status::InvalidArg, format!("reduction is {code}; there is none of that number.")))?;
    let [outer, reduced, inner] = counts([("outer", outer), ("reduced", reduced), ("inner", inner)])?;
    let shape = ReduceShape { outer, reduced, inner };
    expect_len("reduce: x", &x, product(&[shape.outer, shape.reduced, shape.inner])?)?;
    let mut output = new_tensor(product(&[outer, inner])?, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| device.reduce(reduction, shape, factor, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// The index of each row's largest (or smallest) element, int32.
#[napi(catch_unwind)]
pub fn arg_reduce(x: Handle, largest: bool, width: Number) -> Result<Handle> {
    let x = tensor("x", x)?;
    let width = width.count("width")?;
    let mut output = new_tensor(x.len / width.max(1), DType::I32, Kind::Tensor)?;
    with_device(|device| device.arg_reduce(largest, width, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// Cumulative sums of rows: float32 of floats, else int32.
#[napi(catch_unwind)]
pub fn cumulative_sum(x: Handle, width: Number, exclusive: bool, reverse: bool) -> Result<Handle> {
    let x = tensor("x", x)?;
    let width = width.count("width")?;
    let dtype = if x.dtype.is_float() { DType::F32 } else { DType::I32 };
    let mut output = new_tensor(x.len, dtype, Kind::Tensor)?;
    let cumulation = Cumulation { exclusive, reverse };
    with_device(|device| device.cumulative_sum(width, cumulation, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
