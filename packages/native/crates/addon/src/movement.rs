//! Moving elements: the result is stored as the operand is.

use crate::numbers::{Handle, Number, counts};
use crate::sizes::{expect_len, product, sizes};
use crate::tensors::{Tensor, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{GatherShape, Region, Strided};

/// A tensor of `shape` from elements of `x` that lie `strides` apart along each axis, from `offset` on.
#[napi(catch_unwind)]
pub fn rearrange(x: Handle, offset: Number, shape: &[i32], strides: &[i32]) -> Result<Handle> {
    let (x, shape) = (tensor("x", x)?, sizes(shape)?);
    let strides: Vec<isize> = strides.iter().map(|&stride| stride as isize).collect();
    let mut output = new_tensor(product(&shape)?, x.dtype, Kind::Tensor)?;
    let from = Strided { shape: &shape, offset: offset.length("offset")?, strides: &strides };
    let to = Region { shape: &shape, begin: &vec![0; shape.len()] };
    with_device(|device| device.copy(x.view(), from, output.view_mut(), to)).map_err(js_error)?;
    Ok(hand_out(output))
}

/// A tensor of `value` with `x` at `begin`.
#[napi(catch_unwind)]
pub fn pad(x: Handle, x_shape: &[i32], begin: &[i32], shape: &[i32], value: f64) -> Result<Handle> {
    let (x, x_shape, begin, shape) = (tensor("x", x)?, sizes(x_shape)?, sizes(begin)?, sizes(shape)?);
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
pub fn join(rows: Number, parts: &[u32]) -> Result<Handle> {
    let rows = rows.count("rows")?;
    let mut parts = parts.iter().map(|&part| tensor("parts", part)).collect::<Result<Vec<_>>>()?;
    let first = parts.first().map_or(DType::F32, |part| part.dtype);
    let dtype = if parts.iter().all(|part| part.dtype == first) { first } else { DType::F32 };
    for part in &mut parts {
        if part.dtype != dtype {
            *part = stored_as(part, dtype)?;
        }
    }
    let mut output = new_tensor(parts.iter().map(|part| part.len).sum(), dtype, Kind::Tensor)?;
    let views: Vec<_> = parts.iter().map(Tensor::view).collect();
    with_device(|device| device.join(rows, &views, output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

fn stored_as(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let mut output = new_tensor(x.len, dtype, Kind::Tensor)?;
    with_device(|device| device.cast(x.view(), output.view_mut())).map_err(js_error)?;
    Ok(output)
}

/// Slices of `x [batches, outer, axis, inner]` by indices `[batches, count]`: `[batches, outer, count, inner]`.
#[napi(catch_unwind)]
pub fn gather(
    x: Handle,
    indices: Handle,
    batches: Number,
    outer: Number,
    axis: Number,
    inner: Number,
    count: Number,
) -> Result<Handle> {
    let (x, indices) = (tensor("x", x)?, tensor("indices", indices)?);
    let sizes = [("batches", batches), ("outer", outer), ("axis", axis), ("inner", inner), ("count", count)];
    let [batches, outer, axis, inner, count] = counts(sizes)?;
    expect_len("gather: x", &x, product(&[batches, outer, axis, inner])?)?;
    expect_len("gather: indices", &indices, product(&[batches, count])?)?;
    let mut output = new_tensor(product(&[batches, outer, count, inner])?, x.dtype, Kind::Tensor)?;
    let shape = GatherShape { batches, outer, axis, inner, count };
    with_device(|device| device.gather(shape, x.view(), indices.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
