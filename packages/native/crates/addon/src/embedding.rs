//! Rows of embedding tables. A table is given as its elements where they lie (`view`, or JavaScript's memory): that is where steps on rows change it.

use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::{DType, View};

/// Rows of `table` by number, stored as `storage`.
#[napi(catch_unwind)]
pub fn gather_rows(table: &[f32], indices: &[i32], width: u32, storage: u8) -> Result<u32> {
    let mut output = new_tensor(indices.len() * width as usize, dtype_of(storage)?, Kind::Tensor)?;
    with_device(|device| device.gather_rows(View::of(table), indices, width as usize, output.view_mut()))
        .map_err(js_error)?;
    Ok(hand_out(output))
}

/// `rows` sums of rows of `values`, in float32: row `i` belongs to the sum `slots[i]`.
#[napi(catch_unwind)]
pub fn sum_rows(values: u32, slots: &[i32], rows: u32, width: u32) -> Result<u32> {
    let values = tensor(values)?;
    let mut output = new_tensor(rows as usize * width as usize, DType::F32, Kind::Gradient)?;
    with_device(|device| device.sum_rows(values.view(), slots, width as usize, output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
