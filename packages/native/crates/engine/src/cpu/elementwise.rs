//! What kernels that go element by element share: how work is cut, and operands of any storage.

use crate::error::{EngineError, Result};
use crate::storage::{FloatsMut, View};
use crate::threads::SharedMut;
use std::ops::Range;

/// Elements that a thread takes at a time.
pub const GRAIN: usize = 1 << 15;
/// Elements that are converted at a time where storage is not float32: few enough for the nearest cache.
pub const BLOCK: usize = 1 << 12;

/// A range in parts of at most `size`.
pub fn blocks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |start| start..(start + size).min(end))
}

/// Checks that operands have the length that they must.
pub fn expect_lengths(expected: usize, actual: &[usize]) -> Result<()> {
    match actual.iter().find(|&&len| len != expected) {
        None => Ok(()),
        Some(len) => Err(EngineError::BadOperand(format!("An operand has {len} elements instead of {expected}."))),
    }
}

/// An operand that is read by ranges.
pub trait Source<T>: Sync {
    /// Elements of a range: where they lie, or in `scratch`.
    fn range<'s>(&'s self, range: Range<usize>, scratch: &'s mut Vec<T>) -> &'s [T];
}

/// A result that is written by ranges.
pub trait Sink<U>: Sync {
    /// Has `write` write all elements of a range.
    ///
    /// # Safety
    /// Ranges in use at the same time must not overlap.
    unsafe fn with(&self, range: Range<usize>, scratch: &mut Vec<U>, write: impl FnOnce(&mut [U]));
}

/// A view of floats of any storage.
pub struct Floats<'a>(View<'a>);

impl<'a> Floats<'a> {
    /// # Errors
    /// If it is of other elements.
    pub fn new(view: View<'a>) -> Result<Self> {
        view.floats(0..0, &mut Vec::new())?;
        Ok(Self(view))
    }
}

impl Source<f32> for Floats<'_> {
    #[inline]
    fn range<'s>(&'s self, range: Range<usize>, scratch: &'s mut Vec<f32>) -> &'s [f32] {
        // It cannot fail: `new` saw that these are floats.
        self.0.floats(range, scratch).unwrap_or(&[])
    }
}

impl<T: Copy + Sync> Source<T> for &[T] {
    #[inline]
    fn range<'s>(&'s self, range: Range<usize>, _scratch: &'s mut Vec<T>) -> &'s [T] {
        &self[range]
    }
}

impl Sink<f32> for FloatsMut<'_> {
    #[inline]
    unsafe fn with(&self, range: Range<usize>, scratch: &mut Vec<f32>, write: impl FnOnce(&mut [f32])) {
        // SAFETY: by the caller's promise.
        unsafe { self.with_range(range, false, scratch, write) }
    }
}

impl<U: Send> Sink<U> for SharedMut<U> {
    #[inline]
    unsafe fn with(&self, range: Range<usize>, _scratch: &mut Vec<U>, write: impl FnOnce(&mut [U])) {
        // SAFETY: by the caller's promise.
        write(unsafe { self.range(range) })
    }
}
