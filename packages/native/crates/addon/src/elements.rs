//! Elements of tensors in JavaScript: copies, and views of where they lie.

use crate::numbers::Handle;
use crate::tensors::{Tensor, js_error, tensor};
use napi::bindgen_prelude::{
    ArrayBuffer, Either3, Float32Array, Float32ArraySlice, Int32Array, Int32ArraySlice, Uint8Array, Uint8ArraySlice,
};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tensorloom_engine::{DType, Float, bf16, f16};

/// Elements where they lie: float32, int32, or bytes of booleans.
type View = Either3<Float32Array, Int32Array, Uint8Array>;
/// Elements in memory of JavaScript.
type Copy<'env> = Either3<Float32ArraySlice<'env>, Int32ArraySlice<'env>, Uint8ArraySlice<'env>>;

/// What keeps a lent tensor's memory: given up when the loan ends, or when JavaScript has collected the view.
type Loan = Arc<Mutex<Option<Tensor>>>;

thread_local! {
    static LOANS: RefCell<HashMap<u32, Loan>> = RefCell::default();
}

/// A copy of the elements; halves come as float32.
#[napi(catch_unwind)]
pub fn read<'env>(env: &'env Env, handle: Handle) -> Result<Copy<'env>> {
    let tensor = tensor("handle", handle)?;
    let from = tensor.view();
    let mut converted = Vec::new();
    Ok(match tensor.dtype {
        DType::F32 => Either3::A(Float32ArraySlice::copy_from(env, from.slice::<f32>().map_err(js_error)?)?),
        DType::F16 => {
            let values = f16::as_f32(from.slice().map_err(js_error)?, &mut converted);
            Either3::A(Float32ArraySlice::copy_from(env, values)?)
        }
        DType::BF16 => {
            let values = bf16::as_f32(from.slice().map_err(js_error)?, &mut converted);
            Either3::A(Float32ArraySlice::copy_from(env, values)?)
        }
        DType::I32 => Either3::B(Int32ArraySlice::copy_from(env, from.slice::<i32>().map_err(js_error)?)?),
        DType::Bool => Either3::C(Uint8ArraySlice::copy_from(env, from.slice::<u8>().map_err(js_error)?)?),
    })
}

/// The elements where they lie, without a copy (not for halves). They stay there as long as the view is held, and show later changes in
/// place. Memory comes back only some time after JavaScript has collected the view, which it may do late: see `lend`.
#[napi(catch_unwind)]
pub fn view(handle: Handle) -> Result<View> {
    let tensor = tensor("handle", handle)?;
    view_of(&tensor, tensor.clone())
}

/// As `view`, until `end_loan`, which gives the memory back at once.
#[napi(catch_unwind)]
pub fn lend(handle: Handle) -> Result<View> {
    let tensor = tensor("handle", handle)?;
    let loan = Arc::new(Mutex::new(Some(tensor.clone())));
    let view = view_of(&tensor, loan.clone())?;
    LOANS.with_borrow_mut(|loans| loans.insert(handle.number(), loan));
    Ok(view)
}

/// Takes the memory of a lent view away: it has no elements from here on. `buffer` is the view's.
#[napi(catch_unwind)]
pub fn end_loan(handle: Handle, buffer: ArrayBuffer) -> Result<()> {
    let tensor = tensor("handle", handle)?;
    if tensor.len != 0 {
        if buffer.is_empty() || buffer.as_ptr() != tensor.buffer.pointer().cast_const() {
            return Err(Error::new(Status::InvalidArg, "The buffer is not of this tensor."));
        }
        buffer.detach()?;
    }
    if let Some(loan) = LOANS.with_borrow_mut(|loans| loans.remove(&handle.number())) {
        loan.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
    Ok(())
}

/// The elements of a tensor, whose memory `keeper` keeps until it is dropped with the view (or, for loans, when JavaScript cannot reach it).
fn view_of<K: 'static>(tensor: &Tensor, keeper: K) -> Result<View> {
    let (pointer, len) = (tensor.buffer.pointer(), tensor.len);
    Ok(match tensor.dtype {
        DType::F32 => {
            // SAFETY: aligned, of `len` elements of the type, and alive until the finalizer drops the keeper.
            Either3::A(unsafe { Float32Array::with_external_data(pointer.cast(), len, move |_, _| drop(keeper)) })
        }
        DType::I32 => {
            // SAFETY: as above.
            Either3::B(unsafe { Int32Array::with_external_data(pointer.cast(), len, move |_, _| drop(keeper)) })
        }
        DType::Bool => {
            // SAFETY: as above.
            Either3::C(unsafe { Uint8Array::with_external_data(pointer, len, move |_, _| drop(keeper)) })
        }
        other => {
            return Err(Error::new(
                Status::InvalidArg,
                format!("{other:?} cannot be viewed from JavaScript; read it."),
            ));
        }
    })
}
