//! The tensors that JavaScript has handles of, for each JavaScript thread its own.

use napi::{Error, Result, Status};
use std::cell::RefCell;
use std::sync::Arc;
use tensorloom_engine::cpu::CpuDevice;
use tensorloom_engine::memory::{Buffer, Kind};
use tensorloom_engine::{DType, Device, EngineError, View, ViewMut};

/// A buffer and what it holds. Clones share the buffer.
#[derive(Clone)]
pub struct Tensor {
    /// Shared with views that JavaScript holds, so that memory is not used again before these are gone.
    pub buffer: Arc<Buffer>,
    /// Number of elements.
    pub len: usize,
    /// How they are stored.
    pub dtype: DType,
}

impl Tensor {
    /// For reading.
    pub fn view(&self) -> View<'_> {
        // SAFETY: the buffer has room for `len` elements and lives as long as `self`; kernels run one at a time on the thread that has the
        // handle, and the functions of this addon never take a tensor for reading and writing at once (`Tensors::distinct`).
        unsafe { View::from_raw(self.buffer.pointer(), self.len, self.dtype) }
    }

    /// For writing.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        // SAFETY: as for `view`.
        unsafe { ViewMut::from_raw(self.buffer.pointer(), self.len, self.dtype) }
    }
}

#[derive(Default)]
struct Tensors {
    slots: Vec<Option<Tensor>>,
    free: Vec<u32>,
}

thread_local! {
    static TENSORS: RefCell<Tensors> = RefCell::default();
    static DEVICE: CpuDevice = CpuDevice::default();
}

/// Calls `use_device` with this thread's device.
pub fn with_device<T>(use_device: impl FnOnce(&dyn Device) -> T) -> T {
    DEVICE.with(|device| use_device(device))
}

/// A new tensor without defined contents.
pub fn new_tensor(len: usize, dtype: DType, kind: Kind) -> Result<Tensor> {
    let buffer = with_device(|device| device.allocate(len * dtype.bytes(), kind)).map_err(js_error)?;
    Ok(Tensor { buffer: Arc::new(buffer), len, dtype })
}

/// A new tensor of zeros.
pub fn new_zeroed(len: usize, dtype: DType, kind: Kind) -> Result<Tensor> {
    let buffer = with_device(|device| device.allocate_zeroed(len * dtype.bytes(), kind)).map_err(js_error)?;
    Ok(Tensor { buffer: Arc::new(buffer), len, dtype })
}

/// Gives a tensor to JavaScript.
pub fn hand_out(tensor: Tensor) -> u32 {
    TENSORS.with_borrow_mut(|tensors| {
        if let Some(handle) = tensors.free.pop() {
            tensors.slots[handle as usize] = Some(tensor);
            return handle;
        }
        tensors.slots.push(Some(tensor));
        (tensors.slots.len() - 1) as u32
    })
}

/// The tensor of a handle.
pub fn tensor(handle: u32) -> Result<Tensor> {
    TENSORS.with_borrow(|tensors| tensors.slots.get(handle as usize).cloned().flatten()).ok_or_else(|| {
        Error::new(Status::InvalidArg, format!("There is no tensor of handle {handle}; it was freed, or never was."))
    })
}

/// Takes a handle back.
pub fn release(handle: u32) -> Result<()> {
    TENSORS.with_borrow_mut(|tensors| match tensors.slots.get_mut(handle as usize).and_then(Option::take) {
        Some(_) => {
            tensors.free.push(handle);
            Ok(())
        }
        None => {
            Err(Error::new(Status::InvalidArg, format!("There is no tensor of handle {handle}; it was freed before.")))
        }
    })
}

/// The tensor of a handle that will be written: none of `others` may be the same memory.
pub fn tensor_to_write(handle: u32, others: &[&Tensor]) -> Result<Tensor> {
    let written = tensor(handle)?;
    if others.iter().any(|other| Arc::ptr_eq(&other.buffer, &written.buffer)) {
        return Err(Error::new(Status::InvalidArg, "A tensor cannot be changed in place and read by one kernel."));
    }
    Ok(written)
}

/// An error of the engine as JavaScript sees it.
pub fn js_error(error: EngineError) -> Error {
    Error::new(Status::GenericFailure, error.to_string())
}

/// The storage type of a code.
pub fn dtype_of(code: u8) -> Result<DType> {
    DType::from_code(code).ok_or_else(|| Error::new(Status::InvalidArg, format!("There is no storage type {code}.")))
}

/// The kind of a code.
pub fn kind_of(code: u8) -> Result<Kind> {
    Kind::ALL
        .get(usize::from(code))
        .copied()
        .ok_or_else(|| Error::new(Status::InvalidArg, format!("There is no kind of memory {code}.")))
}
