//! What is done to gradients between backward and step.

use crate::numbers::{Handle, Number};
use crate::tensors::{js_error, tensor, tensor_to_write, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::View;

/// `into += gradient`, in place.
#[napi(catch_unwind)]
pub fn accumulate(into: Handle, gradient: Handle) -> Result<()> {
    let gradient = tensor("gradient", gradient)?;
    let mut into = tensor_to_write("into", into, &[&gradient])?;
    with_device(|device| device.accumulate(into.view_mut(), gradient.view())).map_err(js_error)
}

/// `values *= factor`, in place.
#[napi(catch_unwind)]
pub fn scale_in_place(values: Handle, factor: f64) -> Result<()> {
    let mut values = tensor_to_write("values", values, &[])?;
    with_device(|device| device.scale_in_place(values.view_mut(), factor as f32)).map_err(js_error)
}

/// The p-norm of all tensors taken as one vector.
#[napi(catch_unwind)]
pub fn norm(tensors: &[u32], p: f64) -> Result<f64> {
    let tensors = tensors.iter().map(|&handle| tensor("tensors", handle)).collect::<Result<Vec<_>>>()?;
    let views: Vec<View<'_>> = tensors.iter().map(|tensor| tensor.view()).collect();
    with_device(|device| device.norm(&views, p)).map_err(js_error)
}

/// `into[positions[i]] += rows[i]`, in place, for rows of `width` elements.
#[napi(catch_unwind)]
pub fn add_rows(into: Handle, rows: Handle, positions: &[i32], width: Number) -> Result<()> {
    let rows = tensor("rows", rows)?;
    let mut into = tensor_to_write("into", into, &[&rows])?;
    let width = width.count("width")?;
    with_device(|device| device.add_rows(into.view_mut(), rows.view(), positions, width)).map_err(js_error)
}
