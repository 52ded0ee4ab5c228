//! Products of matrices.

use crate::tensors::{hand_out, js_error, new_tensor, tensor, with_device};
use napi::Result;
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{Epilogue, GemmShape, Matrix, MatrixMut};

/// `x [m, k]` times the transpose of `weight [n, k]`, plus `bias [n]`: `[m, n]`.
#[napi]
pub fn linear(x: u32, weight: u32, bias: Option<u32>, m: u32, n: u32, k: u32) -> Result<u32> {
    let (x, weight) = (tensor(x)?, tensor(weight)?);
    let bias = bias.map(tensor).transpose()?;
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let mut output = new_tensor(m * n, DType::F32, Kind::Tensor)?;
    with_device(|device| {
        device.gemm(
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
