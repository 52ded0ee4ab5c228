//! Products of matrices.

use crate::numbers::{Handle, Number, counts};
use crate::sizes::{expect_len, product};
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, tensor, tensor_to_write, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{Arithmetic, Batches, Epilogue, GemmShape, Matrix, MatrixMut};

/// `x [m, k]` times the transpose of `weight [n, k]`, plus `bias [n]`: `[m, n]`.
#[napi(catch_unwind)]
pub fn linear(
    x: Handle,
    weight: Handle,
    bias: Option<Handle>,
    m: Number,
    n: Number,
    k: Number,
    storage: Number,
) -> Result<Handle> {
    let (x, weight) = (tensor("x", x)?, tensor("weight", weight)?);
    let bias = bias.map(|bias| tensor("bias", bias)).transpose()?;
    let [m, n, k] = counts([("m", m), ("n", n), ("k", k)])?;
    expect_len("linear: x", &x, m * k)?;
    expect_len("linear: weight", &weight, n * k)?;
    if let Some(bias) = &bias {
        expect_len("linear: bias", bias, n)?;
    }
    let mut output = new_tensor(m * n, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| {
        device.gemm(
            Arithmetic::of(x.view().dtype()),
            GemmShape { m, n, k },
            Matrix::row_major(x.view(), k),
            Matrix::row_major(weight.view(), k).transposed(),
            MatrixMut { data: output.view_mut() },
            false,
            Epilogue { bias: bias.as_ref().map(|bias| bias.view()), ..Epilogue::default() },
        )
    })
    .map_err(js_error)?;
    Ok(hand_out(output))
}

/// The gradient of [`linear`] by `x`, which is stored in `storage`: `output_gradient [m, n]` times `weight [n, k]`.
#[napi(catch_unwind)]
pub fn linear_grad_x(
    output_gradient: Handle,
    weight: Handle,
    m: Number,
    n: Number,
    k: Number,
    storage: Number,
) -> Result<Handle> {
    let (dy, weight) = (tensor("outputGradient", output_gradient)?, tensor("weight", weight)?);
    let [m, n, k] = counts([("m", m), ("n", n), ("k", k)])?;
    expect_len("linear: the output's gradient", &dy, m * n)?;
    expect_len("linear: weight", &weight, n * k)?;
    let arithmetic = Arithmetic::of(dtype_of("storage", storage)?);
    let mut gradient = new_tensor(m * k, DType::F32, Kind::Tensor)?;
    with_device(|device| {
        device.gemm(
            arithmetic,
            GemmShape { m, n: k, k: n },
            Matrix::row_major(dy.view(), n),
            Matrix::row_major(weight.view(), k),
            MatrixMut { data: gradient.view_mut() },
            false,
            Epilogue::default(),
        )
    })
    .map_err(js_error)?;
    Ok(hand_out(gradient))
}

/// The gradient of [`linear`] by `weight`: the transpose of `output_gradient [m, n]` times `x [m, k]`. It is added to `into [n, k]` if that is
/// given, else new.
#[napi(catch_unwind)]
pub fn linear_grad_weight(
    output_gradient: Handle,
    x: Handle,
    into: Option<Handle>,
    m: Number,
    n: Number,
    k: Number,
) -> Result<Handle> {
    let (dy, x) = (tensor("outputGradient", output_gradient)?, tensor("x", x)?);
    let [m, n, k] = counts([("m", m), ("n", n), ("k", k)])?;
    let mut gradient = match into {
        Some(into) => tensor_to_write("into", into, &[&dy, &x])?,
        None => new_tensor(n * k, DType::F32, Kind::Tensor)?,
    };
    expect_len("linear: the output's gradient", &dy, m * n)?;
    expect_len("linear: x", &x, m * k)?;
    expect_len("linear: the weight's gradient", &gradient, n * k)?;
    with_device(|device| {
        device.gemm(
            Arithmetic::of(x.view().dtype()),
            GemmShape { m: n, n: k, k: m },
            Matrix::row_major(dy.view(), n).transposed(),
            Matrix::row_major(x.view(), k),
            MatrixMut { data: gradient.view_mut() },
            into.is_some(),
            Epilogue::default(),
        )
    })
    .map_err(js_error)?;
    Ok(into.unwrap_or_else(|| hand_out(gradient)))
}

/// The gradient of [`linear`] by `bias`: the sum over the rows of `output_gradient [m, n]`. It is added to `into [n]` if that is given, else new.
#[napi(catch_unwind)]
pub fn linear_grad_bias(output_gradient: Handle, into: Option<Handle>, m: Number, n: Number) -> Result<Handle> {
    let dy = tensor("outputGradient", output_gradient)?;
    let [m, n] = counts([("m", m), ("n", n)])?;
    let mut gradient = match into {
        Some(into) => tensor_to_write("into", into, &[&dy])?,
        None => new_tensor(n, DType::F32, Kind::Tensor)?,
    };
    expect_len("linear: the output's gradient", &dy, m * n)?;
    expect_len("linear: the bias' gradient", &gradient, n)?;
    with_device(|device| device.column_sums(m, n, dy.view(), gradient.view_mut(), into.is_some())).map_err(js_error)?;
    Ok(into.unwrap_or_else(|| hand_out(gradient)))
}

/// Products of matrices of two stacks: entry `i` is `a[left[i]] b[right[i]]`, `[m, n]`. Matrices of `a` are `[m, k]`, or `[k, m]` if
/// `transpose_a`; those of `b` are `[k, n]`, or `[n, k]` if `transpose_b`.
#[napi(catch_unwind)]
pub fn batch_mat_mul(
    a: Handle,
    b: Handle,
    left: &[i32],
    right: &[i32],
    m: Number,
    n: Number,
    k: Number,
    transpose_a: bool,
    transpose_b: bool,
    storage: Number,
) -> Result<Handle> {
    let (a, b) = (tensor("a", a)?, tensor("b", b)?);
    let [m, n, k] = counts([("m", m), ("n", n), ("k", k)])?;
    let mut output = new_tensor(product(&[left.len(), m, n])?, dtype_of("storage", storage)?, Kind::Tensor)?;
    let matrix = |view, columns: usize, rows: usize, transposed| {
        if transposed { Matrix::row_major(view, rows).transposed() } else { Matrix::row_major(view, columns) }
    };
    with_device(|device| {
        device.batched_gemm(
            GemmShape { m, n, k },
            Batches { left_stride: m * k, right_stride: k * n, left, right },
            matrix(a.view(), k, m, transpose_a),
            matrix(b.view(), n, k, transpose_b),
            MatrixMut { data: output.view_mut() },
        )
    })
    .map_err(js_error)?;
    Ok(hand_out(output))
}
