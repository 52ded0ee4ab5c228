//! Rows of embedding tables. A table is given as its elements where they lie (`view`, or JavaScript's memory): that is where steps on rows change it.

use crate::numbers::{Handle, Number, counts};
use crate::sizes::product;
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::{DType, View};

/// Rows of `table` by number, stored as `storage`.
#[napi(catch_unwind)]
pub fn gather_rows(table: &[f32], indices: &[i32], width: Number, storage: Number) -> Result<Handle> {
    let width = width.count("width")?;
    let mut output = new_tensor(product(&[indices.len(), width])?, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| device.gather_rows(View::of(table), indices, width, output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// `rows` sums of rows of `values`, in float32: row `i` belongs to the sum `slots[i]`.
#[napi(catch_unwind)]
pub fn sum_rows(values: Handle, slots: &[i32], rows: Number, width: Number) -> Result<Handle> {
    let values = tensor("values", values)?;
    let [rows, width] = counts([("rows", rows), ("width", width)])?;
    let mut output = new_tensor(product(&[rows, width])?, DType::F32, Kind::Gradient)?;
    with_device(|device| device.sum_rows(values.view(), slots, width, output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
