//! How elements are stored, and views of operands.

use crate::error::{EngineError, Result};
pub use half::{bf16, f16};
use std::marker::PhantomData;

/// How the elements of a buffer are stored. The three float types all stand for logically float32 values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DType {
    /// IEEE single precision.
    F32 = 0,
    /// IEEE half precision.
    F16 = 1,
    /// The upper half of a single.
    BF16 = 2,
    /// 32-bit integers.
    I32 = 3,
    /// Booleans, a byte each, 0 or 1.
    Bool = 4,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Bool => 1,
        }
    }

    /// Whether it stands for float32 values.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// The type of this number, as the addon passes it.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::F32, Self::F16, Self::BF16, Self::I32, Self::Bool].get(usize::from(code)).copied()
    }
}

mod sealed {
    pub trait Sealed {}
}

/// An element type that can lie in a buffer.
pub trait Element: Copy + Send + Sync + bytemuck::Pod + sealed::Sealed + 'static {
    /// Its code.
    const DTYPE: DType;
}

macro_rules! element {
    ($($type:ty => $dtype:ident),*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}
element!(f32 => F32, f16 => F16, bf16 => BF16, i32 => I32, u8 => Bool);

/// A float storage type. Kernels are generic over it and compute in float32.
pub trait Float: Element {
    /// The value as float32.
    fn to_f32(self) -> f32;
    /// The nearest storable value.
    fn from_f32(value: f32) -> Self;
    /// The elements as float32: themselves, or converted into `scratch`.
    fn as_f32<'a>(slice: &'a [Self], scratch: &'a mut Vec<f32>) -> &'a [f32];
    /// Converts all of `from`; the lengths are equal.
    fn store(from: &[f32], to: &mut [Self]);
    /// Converts all of `from` to float32; the lengths are equal.
    fn load(from: &[Self], to: &mut [f32]);
}

impl Float for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn as_f32<'a>(slice: &'a [Self], _scratch: &'a mut Vec<f32>) -> &'a [f32] {
        slice
    }
    #[inline(always)]
    fn store(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }
    #[inline(always)]
    fn load(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
}

macro_rules! half_float {
    ($($type:ty),*) => {$(
        impl Float for $type {
            #[inline(always)]
            fn to_f32(self) -> f32 {
                <$type>::to_f32(self)
            }
            #[inline(always)]
            fn from_f32(value: f32) -> Self {
                <$type>::from_f32(value)
            }
            fn as_f32<'a>(slice: &'a [Self], scratch: &'a mut Vec<f32>) -> &'a [f32] {
                use half::slice::HalfFloatSliceExt;
                scratch.resize(slice.len(), 0.0);
                slice.convert_to_f32_slice(scratch);
                scratch
            }
            fn store(from: &[f32], to: &mut [Self]) {
                use half::slice::HalfFloatSliceExt;
                to.convert_from_f32_slice(from);
            }
            fn load(from: &[Self], to: &mut [f32]) {
                use half::slice::HalfFloatSliceExt;
                from.convert_to_f32_slice(to);
            }
        }
    )*};
}
half_float!(f16, bf16);

/// An operand that is read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pointer: *const u8,
    len: usize,
    dtype: DType,
    _buffer: PhantomData<&'a [u8]>,
}

/// An operand that is written (and may be read). Kernels are given no other view of the same memory.
pub struct ViewMut<'a> {
    pointer: *mut u8,
    len: usize,
    dtype: DType,
    _buffer: PhantomData<&'a mut [u8]>,
}

// SAFETY: a view is a borrowed slice whose element type is known at run time.
unsafe impl Send for View<'_> {}
// SAFETY: as above; shared views are only read.
unsafe impl Sync for View<'_> {}
// SAFETY: as above; it is the only view of its memory.
unsafe impl Send for ViewMut<'_> {}

impl<'a> View<'a> {
    /// # Safety
    /// `pointer` is valid for reads of `len` elements of `dtype`, aligned to 64 bytes or to the element, during `'a`, in which nobody writes there.
    pub unsafe fn from_raw(pointer: *const u8, len: usize, dtype: DType) -> Self {
        Self { pointer, len, dtype, _buffer: PhantomData }
    }

    /// A view of a slice.
    pub fn of<T: Element>(slice: &'a [T]) -> Self {
        Self { pointer: slice.as_ptr().cast(), len: slice.len(), dtype: T::DTYPE, _buffer: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How elements are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the elements begin.
    pub fn pointer(&self) -> *const u8 {
        self.pointer
    }

    /// Elements `from..from + len`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn part(&self, from: usize, len: usize) -> View<'a> {
        assert!(from <= self.len && len <= self.len - from, "part {from}+{len} of a view of {}", self.len);
        // SAFETY: in range, and the new view borrows for the same time.
        unsafe { Self::from_raw(self.pointer.add(from * self.dtype.bytes()), len, self.dtype) }
    }

    /// The elements.
    ///
    /// # Errors
    /// If they are stored otherwise.
    pub fn slice<T: Element>(&self) -> Result<&'a [T]> {
        expect_dtype(T::DTYPE, self.dtype)?;
        // SAFETY: valid for reads by the contract of `from_raw`, and the type is the stored one.
        Ok(unsafe { std::slice::from_raw_parts(self.pointer.cast(), self.len) })
    }
}

impl<'a> ViewMut<'a> {
    /// # Safety
    /// `pointer` is valid for reads and writes of `len` elements of `dtype`, aligned to 64 bytes or to the element, during `'a`, in which nobody else
    /// reads or writes there.
    pub unsafe fn from_raw(pointer: *mut u8, len: usize, dtype: DType) -> Self {
        Self { pointer, len, dtype, _buffer: PhantomData }
    }

    /// A view of a slice.
    pub fn of<T: Element>(slice: &'a mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr().cast(), len: slice.len(), dtype: T::DTYPE, _buffer: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How elements are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements.
    ///
    /// # Errors
    /// If they are stored otherwise.
    pub fn slice<T: Element>(&mut self) -> Result<&mut [T]> {
        expect_dtype(T::DTYPE, self.dtype)?;
        // SAFETY: valid for writes by the contract of `from_raw`, the type is the stored one, and `self` is borrowed mutably.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.pointer.cast(), self.len) })
    }

    /// The same memory, for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut { pointer: self.pointer, len: self.len, dtype: self.dtype, _buffer: PhantomData }
    }

    /// The same memory, to be read only.
    pub fn as_view(&self) -> View<'_> {
        View { pointer: self.pointer, len: self.len, dtype: self.dtype, _buffer: PhantomData }
    }
}

fn expect_dtype(expected: DType, actual: DType) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(EngineError::BadOperand(format!("The operand is stored as {actual:?}; this kernel takes {expected:?}.")))
}

/// Runs a generic function with the storage type of a float view: `with_float!(view.dtype(), T => kernel::<T>(view.slice()?, …))`.
#[macro_export]
macro_rules! with_float {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $type = f32;
                $body
            }
            $crate::DType::F16 => {
                type $type = $crate::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $type = $crate::bf16;
                $body
            }
            other => Err($crate::EngineError::BadOperand(format!(
                "The operand is stored as {other:?}; this kernel takes floats."
            ))),
        }
    };
}

impl<'a> View<'a> {
    /// Elements `range` as float32: where they lie, or converted into `scratch`.
    ///
    /// # Errors
    /// If they are no floats.
    ///
    /// # Panics
    /// If the range is not within the view.
    #[inline]
    pub fn floats<'s>(&self, range: std::ops::Range<usize>, scratch: &'s mut Vec<f32>) -> Result<&'s [f32]>
    where
        'a: 's,
    {
        let part = self.part(range.start, range.end - range.start);
        with_float!(part.dtype, T => Ok(T::as_f32(part.slice::<T>()?, scratch)))
    }
}

/// A float operand that several threads write, each at ranges of its own, as float32 whatever its storage.
pub struct FloatsMut<'a> {
    pointer: *mut u8,
    len: usize,
    dtype: DType,
    _buffer: PhantomData<&'a mut [u8]>,
}

// SAFETY: users promise in `with_range` to take disjoint ranges.
unsafe impl Send for FloatsMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for FloatsMut<'_> {}

impl<'a> FloatsMut<'a> {
    /// # Errors
    /// If the elements are no floats.
    pub fn new(view: ViewMut<'a>) -> Result<Self> {
        if !view.dtype.is_float() {
            return Err(EngineError::BadOperand(format!(
                "The operand is stored as {:?}; this kernel writes floats.",
                view.dtype
            )));
        }
        Ok(Self { pointer: view.pointer, len: view.len, dtype: view.dtype, _buffer: PhantomData })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the elements begin, if they are float32. Who writes there promises what `with_range` asks.
    pub fn f32_pointer(&self) -> Option<*mut f32> {
        (self.dtype == DType::F32).then_some(self.pointer.cast())
    }

    /// Calls `write` with the elements `range` as float32: where they lie, or in `scratch`, from which they are stored afterwards.
    /// `keeps` tells whether `write` needs what was there before; otherwise it must write every element.
    ///
    /// # Safety
    /// Ranges in use at the same time must not overlap.
    ///
    /// # Panics
    /// If the range is not within the operand.
    #[inline]
    pub unsafe fn with_range<R>(
        &self,
        range: std::ops::Range<usize>,
        keeps: bool,
        scratch: &mut Vec<f32>,
        write: impl FnOnce(&mut [f32]) -> R,
    ) -> R {
        // SAFETY: by the caller's promise.
        unsafe {
            let result = write(self.open(range.clone(), keeps, scratch));
            self.close(range, scratch);
            result
        }
    }

    /// The first half of [`Self::with_range`], for kernels that compute with the values at once: a closure may become a function of its own,
    /// without the kernel's vector instructions. `close` must follow, with the same range and scratch.
    ///
    /// # Safety
    /// As for `with_range`, until it is closed.
    ///
    /// # Panics
    /// As there.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn open<'s>(
        &'s self,
        range: std::ops::Range<usize>,
        keeps: bool,
        scratch: &'s mut Vec<f32>,
    ) -> &'s mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: within the buffer, of the stored type, and disjoint from other ranges by the caller's promise.
        unsafe {
            match self.dtype {
                DType::F16 => loaded(self.slice::<f16>(&range), keeps, scratch),
                DType::BF16 => loaded(self.slice::<bf16>(&range), keeps, scratch),
                _ => self.slice::<f32>(&range),
            }
        }
    }

    /// The second half: stores what is in `scratch`, if it was used.
    ///
    /// # Safety
    /// As for `open`.
    #[inline(always)]
    pub unsafe fn close(&self, range: std::ops::Range<usize>, scratch: &[f32]) {
        // SAFETY: as for `open`, which checked the range.
        unsafe {
            match self.dtype {
                DType::F16 => f16::store(scratch, self.slice(&range)),
                DType::BF16 => bf16::store(scratch, self.slice(&range)),
                _ => {}
            }
        }
    }

    /// # Safety
    /// As for `with_range`; `T` is the stored type.
    #[allow(clippy::mut_from_ref)]
    unsafe fn slice<T>(&self, range: &std::ops::Range<usize>) -> &mut [T] {
        // SAFETY: by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.cast::<T>().add(range.start), range.end - range.start) }
    }
}

/// Room for as many values as `from` has, with these values if `keeps`.
#[inline(always)]
fn loaded<'s, T: Float>(from: &[T], keeps: bool, scratch: &'s mut Vec<f32>) -> &'s mut [f32] {
    scratch.resize(from.len(), 0.0);
    if keeps {
        T::load(from, scratch);
    }
    scratch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_refuse_other_types_and_convert_halves() {
        let halves: Vec<f16> = [1.5, -2.0, 65504.0].map(f16::from_f32).to_vec();
        let view = View::of(&halves);
        assert!(view.slice::<f32>().is_err());
        let mut scratch = Vec::new();
        assert_eq!(view.floats(1..3, &mut scratch), Ok(&[-2.0, 65504.0][..]));
        let integers = [1, 2];
        assert!(View::of(&integers).floats(0..1, &mut Vec::new()).is_err());
    }

    #[test]
    fn halves_are_written_through_scratch_and_keep_what_was_there_if_asked() {
        let mut halves = vec![bf16::from_f32(2.0); 4];
        let sink = FloatsMut::new(ViewMut::of(&mut halves)).expect("floats");
        // SAFETY: one range at a time.
        unsafe { sink.with_range(1..3, true, &mut Vec::new(), |values| values.iter_mut().for_each(|x| *x += 1.0)) };
        assert_eq!(halves.iter().map(|x| x.to_f32()).collect::<Vec<_>>(), [2.0, 3.0, 3.0, 2.0]);
    }
}
