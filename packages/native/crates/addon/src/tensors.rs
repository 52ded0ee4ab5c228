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
        // handle, and the functions of this addon never take a tensor for reading and writing at once (`tensor_to_write`).
        unsafe { View::from_raw(self.buffer.pointer(), self.len, self.dtype) }
    }

    /// For writing.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        // SAFETY: as for `view`.
        unsafe { ViewMut::from_raw(self.buffer.pointer(), self.len, self.dtype) }
    }
}

/// Bits of a handle that are its slot's number. Above them is how often the slot was used again (modulo 128), so that a handle that was freed
/// does not name the next tensor in the slot. Handles fit positive int32.
const SLOT_BITS: u32 = 24;
const SLOTS: usize = 1 << SLOT_BITS;
const USES: u32 = 1 << (31 - SLOT_BITS);

#[derive(Default)]
struct Slot {
    tensor: Option<Tensor>,
    uses: u32,
}

#[derive(Default)]
struct Tensors {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Tensors {
    /// The slot of a handle that is in use.
    fn slot(&mut self, handle: u32) -> Option<(usize, &mut Slot)> {
        let index = handle as usize % SLOTS;
        let slot = self.slots.get_mut(index)?;
        (slot.uses == handle >> SLOT_BITS && slot.tensor.is_some()).then_some((index, slot))
    }
}

thread_local! {
    static TENSORS: RefCell<Tensors> = RefCell::default();
    static DEVICE: CpuDevice = CpuDevice::default();
}

/// Calls `use_device` with this thread's device.
pub fn with_device<T>(use_device: impl FnOnce(&dyn Device) -> T) -> T {
    DEVICE.with(|device| use_device(device))
}

fn bytes_of(len: usize, dtype: DType) -> tensorloom_engine::Result<usize> {
    len.checked_mul(dtype.bytes()).ok_or(EngineError::OutOfMemory(usize::MAX))
}

/// A new tensor without defined contents.
pub fn new_tensor(len: usize, dtype: DType, kind: Kind) -> Result<Tensor> {
    let buffer = with_device(|device| device.allocate(bytes_of(len, dtype)?, kind)).map_err(js_error)?;
    Ok(Tensor { buffer: Arc::new(buffer), len, dtype })
}

/// A new tensor of zeros.
pub fn new_zeroed(len: usize, dtype: DType, kind: Kind) -> Result<Tensor> {
    let buffer = with_device(|device| device.allocate_zeroed(bytes_of(len, dtype)?, kind)).map_err(js_error)?;
    Ok(Tensor { buffer: Arc::new(buffer), len, dtype })
}

/// Gives a tensor to JavaScript.
///
/// # Panics
/// If JavaScript holds more tensors than handles can name.
pub fn hand_out(tensor: Tensor) -> u32 {
    TENSORS.with_borrow_mut(|tensors| {
        let index = tensors.free.pop().unwrap_or_else(|| {
            assert!(tensors.slots.len() < SLOTS, "There are too many tensors.");
            tensors.slots.push(Slot::default());
            tensors.slots.len() - 1
        });
        let slot = &mut tensors.slots[index];
        slot.tensor = Some(tensor);
        slot.uses << SLOT_BITS | index as u32
    })
}

/// The tensor of a handle.
pub fn tensor(handle: u32) -> Result<Tensor> {
    TENSORS.with_borrow_mut(|tensors| tensors.slot(handle).and_then(|(_, slot)| slot.tensor.clone())).ok_or_else(|| {
        Error::new(Status::InvalidArg, format!("There is no tensor of handle {handle}; it was freed, or never was."))
    })
}

/// Takes a handle back.
pub fn release(handle: u32) -> Result<()> {
    TENSORS.with_borrow_mut(|tensors| {
        let Some((index, slot)) = tensors.slot(handle) else {
            let reason = format!("There is no tensor of handle {handle}; it was freed before.");
            return Err(Error::new(Status::InvalidArg, reason));
        };
        slot.tensor = None;
        slot.uses = (slot.uses + 1) % USES;
        tensors.free.push(index);
        Ok(())
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
