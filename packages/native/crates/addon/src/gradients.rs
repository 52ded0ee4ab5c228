//! What is done to gradients between backward and step.

use crate::tensors::{js_error, tensor, tensor_to_write, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::View;

/// `into += gradient`, in place.
#[napi(catch_unwind)]
pub fn accumulate(into: u32, gradient: u32) -> Result<()> {
    let gradient = tensor(gradient)?;
    let mut into = tensor_to_write(into, &[&gradient])?;
    with_device(|device| device.accumulate(into.view_mut(), gradient.view())).map_err(js_error)
}

/// `values *= factor`, in place.
#[napi(catch_unwind)]
pub fn scale_in_place(values: u32, factor: f64) -> Result<()> {
    let mut values = tensor_to_write(values, &[])?;
    with_device(|device| device.scale_in_place(values.view_mut(), factor as f32)).map_err(js_error)
}

/// The p-norm of all tensors taken as one vector.
#[napi(catch_unwind)]
pub fn norm(tensors: &[u32], p: f64) -> Result<f64> {
    let tensors = tensors.iter().map(|&handle| tensor(handle)).collect::<Result<Vec<_>>>()?;
    let views: Vec<View<'_>> = tensors.iter().map(|tensor| tensor.view()).collect();
    with_device(|device| device.norm(&views, p)).map_err(js_error)
}

/// `into[positions[i]] += rows[i]`, in place, for rows of `width` elements.
#[napi(catch_unwind)]
pub fn add_rows(into: u32, rows: u32, positions: &[i32], width: u32) -> Result<()> {
    let rows = tensor(rows)?;
    let mut into = tensor_to_write(into, &[&rows])?;
    with_device(|device| device.add_rows(into.view_mut(), rows.view(), positions, width as usize)).map_err(js_error)
}
