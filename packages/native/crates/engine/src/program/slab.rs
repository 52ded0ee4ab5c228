//! A piece of memory that operands are cut from.

use crate::device::Device;
use crate::error::{EngineError, Result};
use crate::memory::{ALIGNMENT, Buffer, Kind};
use crate::storage::{DType, View, ViewMut};
use std::marker::PhantomData;

/// Memory without defined contents that is cut from the front. Every cut is aligned and overlaps no other.
pub struct Slab<'a> {
    pointer: *mut u8,
    bytes: usize,
    _buffer: PhantomData<&'a mut [u8]>,
}

impl<'a> Slab<'a> {
    /// # Safety
    /// `pointer` is aligned to [`ALIGNMENT`] and valid for reads and writes of `bytes` bytes during `'a`, in which nobody else uses them.
    pub unsafe fn from_raw(pointer: *mut u8, bytes: usize) -> Self {
        Self { pointer, bytes, _buffer: PhantomData }
    }

    /// Bytes that are left.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What an operand takes.
    ///
    /// # Errors
    /// If no memory can be so large.
    pub fn bytes_of(len: usize, dtype: DType) -> Result<usize> {
        len.checked_mul(dtype.bytes())
            .and_then(|bytes| bytes.checked_next_multiple_of(ALIGNMENT))
            .ok_or(EngineError::OutOfMemory(usize::MAX))
    }

    /// Cuts off `bytes` bytes, rounded up.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn cut(&mut self, bytes: usize) -> Result<Slab<'a>> {
        let bytes = bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
        if bytes > self.bytes {
            return Err(EngineError::BadOperand(format!(
                "A program was planned with too little memory: {bytes} bytes of {}.",
                self.bytes
            )));
        }
        let pointer = self.pointer;
        // SAFETY: still within the memory, or just behind it.
        self.pointer = unsafe { pointer.add(bytes) };
        self.bytes -= bytes;
        Ok(Slab { pointer, bytes, _buffer: PhantomData })
    }

    /// Cuts off an operand.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn take(&mut self, len: usize, dtype: DType) -> Result<ViewMut<'a>> {
        let cut = self.cut(Self::bytes_of(len, dtype)?)?;
        // SAFETY: cut off, so nobody else has it; aligned, since every cut is a multiple of the alignment.
        Ok(unsafe { ViewMut::from_raw(cut.pointer, len, dtype) })
    }

    /// As [`Slab::take`], of memory that was written before.
    ///
    /// # Errors
    /// If there are not so many elements.
    pub fn take_view(&mut self, len: usize, dtype: DType) -> Result<View<'a>> {
        let cut = self.cut(Self::bytes_of(len, dtype)?)?;
        // SAFETY: as for `take`.
        Ok(unsafe { View::from_raw(cut.pointer, len, dtype) })
    }

    /// The same memory for a shorter time: what is cut from it is free again afterwards.
    pub fn again(&mut self) -> Slab<'_> {
        Slab { pointer: self.pointer, bytes: self.bytes, _buffer: PhantomData }
    }
}

/// Memory that all programs of a thread share, one after another. It grows to what the largest needs.
#[derive(Default)]
pub struct Workspace {
    buffer: Option<Buffer>,
}

impl Workspace {
    /// At least `bytes` bytes, in use until the result is dropped.
    ///
    /// # Errors
    /// If there is no memory left.
    pub fn slab(&mut self, device: &dyn Device, bytes: usize) -> Result<Slab<'_>> {
        if self.buffer.as_ref().is_none_or(|buffer| buffer.bytes() < bytes) {
            // The old one is given back first: both at once are not needed.
            self.buffer = None;
            self.buffer = Some(device.allocate(bytes, Kind::Scratch)?);
        }
        let (pointer, bytes) = self.buffer.as_ref().map_or((std::ptr::null_mut(), 0), |b| (b.pointer(), b.bytes()));
        // SAFETY: the buffer is ours and borrowed mutably as long as the slab lives; pools align buffers.
        Ok(unsafe { Slab::from_raw(pointer, bytes) })
    }

    /// Gives the memory back.
    pub fn clear(&mut self) {
        self.buffer = None;
    }
}
