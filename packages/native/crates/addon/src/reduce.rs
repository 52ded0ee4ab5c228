//! Reductions along an axis.

use crate::sizes::{expect_len, product};
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::{Error, Result, Status};
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{Cumulation, ReduceShape, Reduction};

/// `[outer, reduced, inner]` to `[outer, inner]`, stored as `storage`; floats are multiplied by `factor`.
#[napi(catch_unwind)]
pub fn reduce(x: u32, reduction: u8, outer: u32, reduced: u32, inner: u32, factor: f64, storage: u8) -> Result<u32> {
    let x = tensor(x)?;
    let reduction = Reduction::from_code(reduction)
        .ok_or_else(|| Error::new(Status::InvalidArg, format!("There is no reduction {reduction}.")))?;
    let shape = ReduceShape { outer: outer as usize, reduced: reduced as usize, inner: inner as usize };
    expect_len("reduce: x", &x, product(&[shape.outer, shape.reduced, shape.inner])?)?;
    let mut output = new_tensor(shape.outer * shape.inner, dtype_of(storage)?, Kind::Tensor)?;
    with_device(|device| device.reduce(reduction, shape, factor, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// The index of each row's largest (or smallest) element, int32.
#[napi(catch_unwind)]
pub fn arg_reduce(x: u32, largest: bool, width: u32) -> Result<u32> {
    let x = tensor(x)?;
    let mut output = new_tensor(x.len / (width as usize).max(1), DType::I32, Kind::Tensor)?;
    with_device(|device| device.arg_reduce(largest, width as usize, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// Cumulative sums of rows: float32 of floats, else int32.
#[napi(catch_unwind)]
pub fn cumulative_sum(x: u32, width: u32, exclusive: bool, reverse: bool) -> Result<u32> {
    let x = tensor(x)?;
    let dtype = if x.dtype.is_float() { DType::F32 } else { DType::I32 };
    let mut output = new_tensor(x.len, dtype, Kind::Tensor)?;
    let cumulation = Cumulation { exclusive, reverse };
    with_device(|device| device.cumulative_sum(width as usize, cumulation, x.view(), output.view_mut()))
        .map_err(js_error)?;
    Ok(hand_out(output))
}
