//! Making, reading and freeing tensors, and what memory they take.

use crate::numbers::{Handle, Number};
use crate::tensors::{dtype_of, hand_out, js_error, kind_of, new_tensor, new_zeroed, release, tensor, with_device};
use napi::{Error, Result, Status};
use napi_derive::napi;
use tensorloom_engine::memory::{Kind, Usage};
use tensorloom_engine::{DType, Float, bf16, f16, simd, threads};

/// Starts the engine on this JavaScript thread with so many threads, this one included.
#[napi(catch_unwind)]
pub fn start(thread_count: Number) -> Result<()> {
    simd::chosen().map_err(Error::from_reason)?;
    threads::set_threads(thread_count.count("threads")?).map_err(Error::from_reason)
}

/// The version of this addon, which must be that of the package that loads it.
#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Instructions and threads, for people.
#[napi(catch_unwind)]
pub fn describe() -> String {
    with_device(|device| device.describe())
}

/// A tensor of zeros.
#[napi(catch_unwind)]
pub fn zeros(length: Number, dtype: Number, kind: Number) -> Result<Handle> {
    Ok(hand_out(new_zeroed(length.length("length")?, dtype_of("dtype", dtype)?, kind_of("kind", kind)?)?))
}

/// A tensor with these float32 values, stored as `dtype` (a float).
#[napi(catch_unwind)]
pub fn upload_floats(values: &[f32], dtype: Number) -> Result<Handle> {
    let mut made = new_tensor(values.len(), dtype_of("dtype", dtype)?, Kind::Tensor)?;
    let dtype = made.dtype;
    let mut to = made.view_mut();
    match dtype {
        DType::F32 => to.slice::<f32>().map_err(js_error)?.copy_from_slice(values),
        DType::F16 => f16::store(values, to.slice().map_err(js_error)?),
        DType::BF16 => bf16::store(values, to.slice().map_err(js_error)?),
        other => return Err(Error::new(Status::InvalidArg, format!("Floats cannot be stored as {other:?}."))),
    }
    Ok(hand_out(made))
}

/// A tensor with these integers.
#[napi(catch_unwind)]
pub fn upload_integers(values: &[i32]) -> Result<Handle> {
    let mut made = new_tensor(values.len(), DType::I32, Kind::Tensor)?;
    made.view_mut().slice::<i32>().map_err(js_error)?.copy_from_slice(values);
    Ok(hand_out(made))
}

/// A tensor with these booleans, 0 or 1.
#[napi(catch_unwind)]
pub fn upload_booleans(values: &[u8]) -> Result<Handle> {
    let mut made = new_tensor(values.len(), DType::Bool, Kind::Tensor)?;
    made.view_mut().slice::<u8>().map_err(js_error)?.copy_from_slice(values);
    Ok(hand_out(made))
}

/// How a tensor is stored.
#[napi(catch_unwind)]
pub fn storage_of(handle: Handle) -> Result<u8> {
    Ok(tensor("handle", handle)?.dtype as u8)
}

/// Takes a handle back.
#[napi(catch_unwind)]
pub fn free(handle: Handle) -> Result<()> {
    release("handle", handle)
}

/// Counts a tensor as another kind of memory.
#[napi(catch_unwind)]
pub fn set_kind(handle: Handle, kind: Number) -> Result<()> {
    tensor("handle", handle)?.buffer.set_kind(kind_of("kind", kind)?);
    Ok(())
}

/// Bytes of one kind of memory.
#[napi(object)]
pub struct KindUsage {
    /// In use.
    pub current_bytes: f64,
    /// The most since the start or the last reset.
    pub peak_bytes: f64,
}

/// Memory of this thread's tensors.
#[napi(object)]
pub struct MemoryUsage {
    /// All kinds together.
    pub total: KindUsage,
    /// Tensors, parameters, gradients, optimizer state, scratch.
    pub by_kind: Vec<KindUsage>,
    /// Live buffers.
    pub buffers: u32,
    /// Freed and kept for reuse.
    pub cached_bytes: f64,
}

impl From<Usage> for KindUsage {
    fn from(usage: Usage) -> Self {
        Self { current_bytes: usage.current_bytes as f64, peak_bytes: usage.peak_bytes as f64 }
    }
}

/// What is in use, was at most, and is cached.
#[napi(catch_unwind)]
pub fn memory_usage() -> MemoryUsage {
    let statistics = with_device(|device| device.pool().statistics());
    MemoryUsage {
        total: statistics.total.into(),
        by_kind: statistics.by_kind.into_iter().map(KindUsage::from).collect(),
        buffers: statistics.buffers as u32,
        cached_bytes: statistics.cached_bytes as f64,
    }
}

/// Peaks start again from what is in use now.
#[napi(catch_unwind)]
pub fn reset_peaks() {
    with_device(|device| device.pool().reset_peaks());
}
