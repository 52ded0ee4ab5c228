//! The tensors that JavaScript has handles of, for each JavaScript thread its own.

use crate::numbers::{Handle, Number};
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

struct Tensors {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Default for Tensors {
    /// The first slot stays empty, so that 0, which is what typed arrays make of NaN and `undefined`, is nobody's handle.
    fn default() -> Self {
        Self { slots: vec![Slot::default()], free: Vec::new() }
    }
}

impl Tensors {
    /// The slot of a handle that is in use.
    fn slot(&mut self, handle: Handle) -> Option<(usize, &mut Slot)> {
        let handle = handle.number();
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
pub fn hand_out(tensor: Tensor) -> Handle {
    TENSORS.with_borrow_mut(|tensors| {
        let index = tensors.free.pop().unwrap_or_else(|| {
            assert!(tensors.slots.len() < SLOTS, "There are too many tensors.");
            tensors.slots.push(Slot::default());
            tensors.slots.len() - 1
        });
        let slot = &mut tensors.slots[index];
        slot.tensor = Some(tensor);
        (slot.uses << SLOT_BITS | index as u32).into()
    })
}

/// The tensor of a handle.
///
/// # Errors
/// If there is none; `name` is the argument's.
pub fn tensor(name: &str, handle: impl Into<Handle>) -> Result<Tensor> {
    let handle = handle.into();
    TENSORS
        .with_borrow_mut(|tensors| tensors.slot(handle).and_then(|(_, slot)| slot.tensor.clone()))
        .ok_or_else(|| no_tensor(name, handle))
}

fn no_tensor(name: &str, handle: Handle) -> Error {
    let given = handle.given();
    let reason = format!("{name} is {given}; there is no tensor of this handle: it was freed, or never was.");
    Error::new(Status::InvalidArg, reason)
}

/// Takes a handle back.
pub fn release(name: &str, handle: Handle) -> Result<()> {
    TENSORS.with_borrow_mut(|tensors| {
        let Some((index, slot)) = tensors.slot(handle) else {
            return Err(no_tensor(name, handle));
        };
        slot.tensor = None;
        slot.uses = (slot.uses + 1) % USES;
        tensors.free.push(index);
        Ok(())
    })
}

/// The tensor of a handle that will be written: none of `others` may be the same memory.
pub fn tensor_to_write(name: &str, handle: impl Into<Handle>, others: &[&Tensor]) -> Result<Tensor> {
    let written = tensor(name, handle)?;
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
pub fn dtype_of(name: &str, code: Number) -> Result<DType> {
    let code = code.whole(name)?;
    u8::try_from(code).ok().and_then(DType::from_code).ok_or_else(|| {
        Error::new(Status::InvalidArg, format!("{name} is {code}; there is no such way to store elements."))
    })
}

/// The kind of a code.
pub fn kind_of(name: &str, code: Number) -> Result<Kind> {
    let code = code.count(name)?;
    Kind::ALL
        .get(code)
        .copied()
        .ok_or_else(|| Error::new(Status::InvalidArg, format!("{name} is {code}; there is no such kind of memory.")))
}
