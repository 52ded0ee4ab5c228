//! Steps of optimizers in place: on tensors, or on tables in JavaScript's memory.

use crate::numbers::{Handle, Number};
use crate::tensors::{Tensor, js_error, tensor, tensor_to_write, with_device};
use napi::bindgen_prelude::Float32ArraySlice;
use napi::{Error, Result, Status};
use napi_derive::napi;
use std::ops::Range;
use tensorloom_engine::ViewMut;
use tensorloom_engine::ops::{AdamFactors, SgdFactors, VisitedRows};

/// The numbers in the order of the fields of [`AdamFactors`].
fn adam_factors(numbers: &[f64]) -> Result<AdamFactors> {
    let &[gradient_scale, coupled_decay, first_share, second_kept, second_share, value_kept, rate, epsilon] = numbers
    else {
        return Err(Error::new(Status::InvalidArg, format!("Adam takes 8 numbers; got {}.", numbers.len())));
    };
    Ok(AdamFactors {
        gradient_scale: gradient_scale as f32,
        coupled_decay: coupled_decay as f32,
        first_share: first_share as f32,
        second_kept: second_kept as f32,
        second_share: second_share as f32,
        value_kept: value_kept as f32,
        rate: rate as f32,
        epsilon: epsilon as f32,
    })
}

/// The numbers in the order of the fields of [`SgdFactors`]; the last is 1 for Nesterov's momentum.
fn sgd_factors(numbers: &[f64]) -> Result<SgdFactors> {
    let &[gradient_scale, weight_decay, momentum, gradient_share, rate, nesterov] = numbers else {
        return Err(Error::new(Status::InvalidArg, format!("SGD takes 6 numbers; got {}.", numbers.len())));
    };
    Ok(SgdFactors {
        gradient_scale: gradient_scale as f32,
        weight_decay: weight_decay as f32,
        momentum: momentum as f32,
        gradient_share: gradient_share as f32,
        rate: rate as f32,
        nesterov: nesterov != 0.0,
    })
}

/// One step of Adam: changes all but the gradient.
#[napi(catch_unwind)]
pub fn adam_step(value: Handle, gradient: Handle, exp_avg: Handle, exp_avg_sq: Handle, factors: &[f64]) -> Result<()> {
    let gradient = tensor("gradient", gradient)?;
    let mut value = tensor_to_write("value", value, &[&gradient])?;
    let mut exp_avg = tensor_to_write("expAvg", exp_avg, &[&gradient, &value])?;
    let mut exp_avg_sq = tensor_to_write("expAvgSq", exp_avg_sq, &[&gradient, &value, &exp_avg])?;
    let factors = adam_factors(factors)?;
    with_device(|device| {
        device.adam_step(value.view_mut(), gradient.view(), exp_avg.view_mut(), exp_avg_sq.view_mut(), factors)
    })
    .map_err(js_error)
}

/// One step of gradient descent: changes the value and, if there is one, the momentum's buffer.
#[napi(catch_unwind)]
pub fn sgd_step(value: Handle, gradient: Handle, momentum: Option<Handle>, factors: &[f64]) -> Result<()> {
    let gradient = tensor("gradient", gradient)?;
    let mut value = tensor_to_write("value", value, &[&gradient])?;
    let mut momentum = momentum.map(|handle| tensor_to_write("handle", handle, &[&gradient, &value])).transpose()?;
    let factors = sgd_factors(factors)?;
    with_device(|device| {
        device.sgd_step(value.view_mut(), gradient.view(), momentum.as_mut().map(Tensor::view_mut), factors)
    })
    .map_err(js_error)
}

/// One step of Adam on the visited rows of a table. `offsets` says for each where in `gradients` its own begins, or -1.
#[napi(catch_unwind)]
pub fn adam_rows(
    mut table: Float32ArraySlice<'_>,
    gradients: Handle,
    mut exp_avg: Float32ArraySlice<'_>,
    mut exp_avg_sq: Float32ArraySlice<'_>,
    rows: &[i32],
    offsets: &[i32],
    width: Number,
    factors: &[f64],
) -> Result<()> {
    let gradients = tensor("gradients", gradients)?;
    refuse_overlaps(&[&table, &exp_avg, &exp_avg_sq], &[rows, offsets], &gradients)?;
    let factors = adam_factors(factors)?;
    let visited = VisitedRows { rows, offsets, width: width.count("width")? };
    // SAFETY: none of them overlaps another operand, and JavaScript, which owns them, waits for this call.
    let (table, exp_avg, exp_avg_sq) = unsafe { (table.as_mut(), exp_avg.as_mut(), exp_avg_sq.as_mut()) };
    with_device(|device| {
        let [table, exp_avg, exp_avg_sq] = [table, exp_avg, exp_avg_sq].map(ViewMut::of);
        device.adam_rows(table, gradients.view(), exp_avg, exp_avg_sq, visited, factors)
    })
    .map_err(js_error)
}

/// One step of gradient descent on the visited rows of a table, with momentum if there is a buffer for it.
#[napi(catch_unwind)]
pub fn sgd_rows(
    mut table: Float32ArraySlice<'_>,
    gradients: Handle,
    mut momentum: Option<Float32ArraySlice<'_>>,
    rows: &[i32],
    offsets: &[i32],
    width: Number,
    factors: &[f64],
) -> Result<()> {
    let gradients = tensor("gradients", gradients)?;
    refuse_overlaps(&[&table, momentum.as_deref().unwrap_or(&[])], &[rows, offsets], &gradients)?;
    let factors = sgd_factors(factors)?;
    let visited = VisitedRows { rows, offsets, width: width.count("width")? };
    // SAFETY: as in `adam_rows`.
    let (table, momentum) = unsafe { (table.as_mut(), momentum.as_mut().map(|momentum| momentum.as_mut())) };
    with_device(|device| {
        device.sgd_rows(ViewMut::of(table), gradients.view(), momentum.map(ViewMut::of), visited, factors)
    })
    .map_err(js_error)
}

/// Arrays of JavaScript may overlap; those that are written must not overlap anything.
fn refuse_overlaps(written: &[&[f32]], read: &[&[i32]], gradients: &Tensor) -> Result<()> {
    let from = gradients.buffer.pointer() as usize;
    let spans: Vec<Range<usize>> = written
        .iter()
        .map(|slice| span(slice))
        .chain(read.iter().map(|slice| span(slice)))
        .chain(std::iter::once(from..from + gradients.buffer.bytes()))
        .collect();
    for (i, a) in spans.iter().enumerate().take(written.len()) {
        if spans[i + 1..].iter().any(|b| a.start < b.end && b.start < a.end) {
            return Err(Error::new(Status::InvalidArg, "A table, its moments and its gradients must not overlap."));
        }
    }
    Ok(())
}

fn span<T>(slice: &[T]) -> Range<usize> {
    let range = slice.as_ptr_range();
    range.start as usize..range.end as usize
}
