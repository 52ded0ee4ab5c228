//! Making, reading and freeing tensors, and what memory they take.

use crate::tensors::{
    Tensor, dtype_of, hand_out, js_error, kind_of, new_tensor, new_zeroed, release, tensor, with_device,
};
use napi::bindgen_prelude::{Either3, Float32Array, Int32Array, Uint8Array};
use napi::{Error, Result, Status};
use napi_derive::napi;
use tensorloom_engine::memory::{Kind, Usage};
use tensorloom_engine::{DType, Float, bf16, f16, simd, threads};

/// Elements of a tensor in JavaScript: float32 (also of halves), int32, or bytes of booleans.
type Values = Either3<Float32Array, Int32Array, Uint8Array>;

/// Starts the engine on this JavaScript thread with so many threads, this one included.
#[napi]
pub fn start(thread_count: u32) -> Result<()> {
    simd::chosen().map_err(Error::from_reason)?;
    threads::set_threads(thread_count as usize).map_err(Error::from_reason)
}

/// Instructions and threads, for people.
#[napi]
pub fn describe() -> String {
    with_device(|device| device.describe())
}

/// A tensor of zeros.
#[napi]
pub fn zeros(length: f64, dtype: u8, kind: u8) -> Result<u32> {
    Ok(hand_out(new_zeroed(length as usize, dtype_of(dtype)?, kind_of(kind)?)?))
}

/// A tensor with these float32 values, stored as `dtype` (a float).
#[napi]
pub fn upload_floats(values: &[f32], dtype: u8) -> Result<u32> {
    let mut made = new_tensor(values.len(), dtype_of(dtype)?, Kind::Tensor)?;
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
#[napi]
pub fn upload_integers(values: &[i32]) -> Result<u32> {
    let mut made = new_tensor(values.len(), DType::I32, Kind::Tensor)?;
    made.view_mut().slice::<i32>().map_err(js_error)?.copy_from_slice(values);
    Ok(hand_out(made))
}

/// A tensor with these booleans, 0 or 1.
#[napi]
pub fn upload_booleans(values: &[u8]) -> Result<u32> {
    let mut made = new_tensor(values.len(), DType::Bool, Kind::Tensor)?;
    made.view_mut().slice::<u8>().map_err(js_error)?.copy_from_slice(values);
    Ok(hand_out(made))
}

/// A copy of the elements; halves come as float32.
#[napi]
pub fn read(handle: u32) -> Result<Values> {
    let tensor = tensor(handle)?;
    let from = tensor.view();
    let mut converted = Vec::new();
    Ok(match tensor.dtype {
        DType::F32 => Either3::A(Float32Array::new(from.slice::<f32>().map_err(js_error)?.to_vec())),
        DType::F16 => {
            f16::as_f32(from.slice().map_err(js_error)?, &mut converted);
            Either3::A(Float32Array::new(converted))
        }
        DType::BF16 => {
            bf16::as_f32(from.slice().map_err(js_error)?, &mut converted);
            Either3::A(Float32Array::new(converted))
        }
        DType::I32 => Either3::B(Int32Array::new(from.slice::<i32>().map_err(js_error)?.to_vec())),
        DType::Bool => Either3::C(Uint8Array::new(from.slice::<u8>().map_err(js_error)?.to_vec())),
    })
}

/// The elements where they lie, without a copy (not for halves). They stay there as long as the view is held, and show later changes in place.
#[napi]
pub fn view(handle: u32) -> Result<Values> {
    let tensor = tensor(handle)?;
    let (pointer, len) = (tensor.buffer.pointer(), tensor.len);
    Ok(match tensor.dtype {
        DType::F32 => {
            // SAFETY: aligned, of `len` elements of the type, and alive until the finalizer drops the tensor.
            Either3::A(unsafe { Float32Array::with_external_data(pointer.cast(), len, holding(tensor)) })
        }
        DType::I32 => {
            // SAFETY: as above.
            Either3::B(unsafe { Int32Array::with_external_data(pointer.cast(), len, holding(tensor)) })
        }
        DType::Bool => {
            // SAFETY: as above.
            Either3::C(unsafe { Uint8Array::with_external_data(pointer, len, holding(tensor)) })
        }
        other => {
            return Err(Error::new(
                Status::InvalidArg,
                format!("{other:?} cannot be viewed from JavaScript; read it."),
            ));
        }
    })
}

fn holding<T>(tensor: Tensor) -> impl FnOnce(*mut T, usize) {
    move |_, _| drop(tensor)
}

/// How a tensor is stored.
#[napi]
pub fn storage_of(handle: u32) -> Result<u8> {
    Ok(tensor(handle)?.dtype as u8)
}

/// Takes a handle back.
#[napi]
pub fn free(handle: u32) -> Result<()> {
    release(handle)
}

/// Counts a tensor as another kind of memory.
#[napi]
pub fn set_kind(handle: u32, kind: u8) -> Result<()> {
    tensor(handle)?.buffer.set_kind(kind_of(kind)?);
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
#[napi]
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
#[napi]
pub fn reset_peaks() {
    with_device(|device| device.pool().reset_peaks());
}
