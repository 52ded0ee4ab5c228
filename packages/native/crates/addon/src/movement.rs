//! Moving elements: the result is stored as the operand is.

use crate::sizes::{expect_len, length, product, sizes};
use crate::tensors::{Tensor, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{GatherShape, Region, Strided};

/// A tensor of `shape` from elements of `x` that lie `strides` apart along each axis, from `offset` on.
#[napi(catch_unwind)]
pub fn rearrange(x: u32, offset: f64, shape: &[i32], strides: &[i32]) -> Result<u32> {
    let (x, shape) = (tensor(x)?, sizes(shape)?);
    let strides: Vec<isize> = strides.iter().map(|&stride| stride as isize).collect();
    let mut output = new_tensor(product(&shape)?, x.dtype, Kind::Tensor)?;
    let from = Strided { shape: &shape, offset: length(offset)?, strides: &strides };
    let to = Region { shape: &shape, begin: &vec![0; shape.len()] };
    with_device(|device| device.copy(x.view(), from, output.view_mut(), to)).map_err(js_error)?;
    Ok(hand_out(output))
}

/// A tensor of `value` with `x` at `begin`.
#[napi(catch_unwind)]
pub fn pad(x: u32, x_shape: &[i32], begin: &[i32], shape: &[i32], value: f64) -> Result<u32> {
    let (x, x_shape, begin, shape) = (tensor(x)?, sizes(x_shape)?, sizes(begin)?, sizes(shape)?);
    expect_len("pad: x", &x, product(&x_shape)?)?;
    let mut strides = vec![1isize; x_shape.len()];
    for i in (1..x_shape.len()).rev() {
        strides[i - 1] = strides[i].wrapping_mul(x_shape[i] as isize);
    }
    let mut output = new_tensor(product(&shape)?, x.dtype, Kind::Tensor)?;
    let from = Strided { shape: &x_shape, offset: 0, strides: &strides };
    let to = Region { shape: &shape, begin: &begin };
    with_device(|device| {
        device.fill(value, output.view_mut());
        device.copy(x.view(), from, output.view_mut(), to)
    })
    .map_err(js_error)?;
    Ok(hand_out(output))
}

/// Tensors joined along an axis before which there are `rows` places. Where floats are stored in several ways the result is of float32.
#[napi(catch_unwind)]
pub fn join(rows: u32, parts: &[u32]) -> Result<u32> {
    let mut parts = parts.iter().map(|&part| tensor(part)).collect::<Result<Vec<_>>>()?;
    let first = parts.first().map_or(DType::F32, |part| part.dtype);
    let dtype = if parts.iter().all(|part| part.dtype == first) { first } else { DType::F32 };
    for part in &mut parts {
        if part.dtype != dtype {
            *part = stored_as(part, dtype)?;
        }
    }
    let mut output = new_tensor(parts.iter().map(|part| part.len).sum(), dtype, Kind::Tensor)?;
    let views: Vec<_> = parts.iter().map(Tensor::view).collect();
    with_device(|device| device.join(rows as usize, &views, output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

fn stored_as(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let mut output = new_tensor(x.len, dtype, Kind::Tensor)?;
    with_device(|device| device.cast(x.view(), output.view_mut())).map_err(js_error)?;
    Ok(output)
}

/// Slices of `x [batches, outer, axis, inner]` by indices `[batches, count]`: `[batches, outer, count, inner]`.
#[napi(catch_unwind)]
pub fn gather(x: u32, indices: u32, batches: u32, outer: u32, axis: u32, inner: u32, count: u32) -> Result<u32> {
    let (x, indices) = (tensor(x)?, tensor(indices)?);
    let [batches, outer, axis, inner, count] = [batches, outer, axis, inner, count].map(|size| size as usize);
    expect_len("gather: x", &x, product(&[batches, outer, axis, inner])?)?;
    expect_len("gather: indices", &indices, product(&[batches, count])?)?;
    let mut output = new_tensor(product(&[batches, outer, count, inner])?, x.dtype, Kind::Tensor)?;
    let shape = GatherShape { batches, outer, axis, inner, count };
    with_device(|device| device.gather(shape, x.view(), indices.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
