//! Tensor memory and kernels for training transformers.
//!
//! A [`Device`] owns memory and runs kernels on it; [`cpu::CpuDevice`] is the one there is. Kernels take operands as
//! [`View`]s: a pointer, a number of elements and how these are stored. Shapes are arguments of each kernel.
//! Values that are stored as halves are converted in registers or small blocks, and always summed in float32.

pub mod cpu;
mod device;
mod error;
pub mod memory;
pub mod ops;
pub mod program;
pub mod simd;
mod storage;
pub mod threads;

pub use device::Device;
pub use error::{EngineError, Result};
pub use storage::{DType, Element, Float, FloatsMut, View, ViewMut, bf16, f16};
