//! Functions of one and two operands, element by element.

use crate::sizes::{self, sizes};
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, new_zeroed, tensor, with_device};
use napi::{Error, Result, Status};
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{BinaryOp, Broadcast, CompareOp, Predicate, UnaryOp};

/// Functions by code (src/kernels/unary.ts has the same order).
fn unary_op(code: u8, first: f64, second: f64) -> Result<UnaryOp> {
    use UnaryOp::{
        Abs, Ceil, Clip, Elu, Exp, Floor, LeakyRelu, Log, Neg, Reciprocal, Relu, Relu6, Round, Rsqrt, Sigmoid, Sign,
        Sqrt, Square, Step, Tanh,
    };
    let (first, second) = (first as f32, second as f32);
    let all = [
        Abs,
        Neg,
        Exp,
        Log,
        Sqrt,
        Rsqrt,
        Square,
        Reciprocal,
        Sigmoid,
        Tanh,
        Relu,
        Relu6,
        Elu,
        Sign,
        Floor,
        Ceil,
        Round,
        LeakyRelu { slope: first },
        Step { below: first },
        Clip { low: first, high: second },
    ];
    by_code(&all, code)
}

fn by_code<T: Copy>(all: &[T], code: u8) -> Result<T> {
    all.get(usize::from(code))
        .copied()
        .ok_or_else(|| Error::new(Status::InvalidArg, format!("There is no function {code}.")))
}

/// A function of each element, stored as `storage`.
#[napi(catch_unwind)]
pub fn unary(code: u8, x: u32, first: f64, second: f64, storage: u8) -> Result<u32> {
    let (op, x) = (unary_op(code, first, second)?, tensor(x)?);
    let mut output = new_tensor(x.len, dtype_of(storage)?, Kind::Tensor)?;
    with_device(|device| device.unary(op, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// A question about each element: booleans.
#[napi(catch_unwind)]
pub fn predicate(code: u8, x: u32) -> Result<u32> {
    let predicate = by_code(&[Predicate::IsNan, Predicate::IsInf, Predicate::IsFinite, Predicate::Not], code)?;
    let x = tensor(x)?;
    let mut output = new_tensor(x.len, DType::Bool, Kind::Tensor)?;
    with_device(|device| device.predicate(predicate, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// The same values, stored as another type.
#[napi(catch_unwind)]
pub fn cast(x: u32, storage: u8) -> Result<u32> {
    let x = tensor(x)?;
    let mut output = new_tensor(x.len, dtype_of(storage)?, Kind::Tensor)?;
    with_device(|device| device.cast(x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// One value everywhere. Of zeros pages take memory only once they are written.
#[napi(catch_unwind)]
pub fn filled(length: f64, value: f64, storage: u8) -> Result<u32> {
    let (length, dtype) = (sizes::length(length)?, dtype_of(storage)?);
    if value == 0.0 && value.is_sign_positive() {
        return Ok(hand_out(new_zeroed(length, dtype, Kind::Tensor)?));
    }
    let mut output = new_tensor(length, dtype, Kind::Tensor)?;
    with_device(|device| device.fill(value, output.view_mut()));
    Ok(hand_out(output))
}

/// A function of the elements of two tensors that meet by broadcasting: integers of integers, else floats stored as `storage`.
#[napi(catch_unwind)]
pub fn binary(code: u8, a: u32, a_shape: &[i32], b: u32, b_shape: &[i32], storage: u8) -> Result<u32> {
    use BinaryOp::{Add, Div, Max, Min, Mul, Pow, SquaredDifference, Sub};
    let op = by_code(&[Add, Sub, Mul, Max, Min, Div, Pow, SquaredDifference], code)?;
    let (a, b) = (tensor(a)?, tensor(b)?);
    let shapes = Broadcast::new(&sizes(a_shape)?, &sizes(b_shape)?).map_err(js_error)?;
    let dtype = if a.dtype == DType::I32 { DType::I32 } else { dtype_of(storage)? };
    let mut output = new_tensor(shapes.len(), dtype, Kind::Tensor)?;
    with_device(|device| device.binary(op, &shapes, a.view(), b.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// A question about the elements of two tensors that meet by broadcasting: booleans.
#[napi(catch_unwind)]
pub fn compare(code: u8, a: u32, a_shape: &[i32], b: u32, b_shape: &[i32]) -> Result<u32> {
    use CompareOp::{And, Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual, Or, Xor};
    let op = by_code(&[Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, And, Or, Xor], code)?;
    let (a, b) = (tensor(a)?, tensor(b)?);
    let shapes = Broadcast::new(&sizes(a_shape)?, &sizes(b_shape)?).map_err(js_error)?;
    let mut output = new_tensor(shapes.len(), DType::Bool, Kind::Tensor)?;
    with_device(|device| device.compare(op, &shapes, a.view(), b.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// Elements of `a` where the condition holds, else of `b`; floats are stored as `storage`.
#[napi(catch_unwind)]
pub fn select(condition: u32, a: u32, b: u32, storage: u8) -> Result<u32> {
    let (condition, a, b) = (tensor(condition)?, tensor(a)?, tensor(b)?);
    let dtype = if a.dtype.is_float() { dtype_of(storage)? } else { a.dtype };
    let mut output = new_tensor(a.len, dtype, Kind::Tensor)?;
    with_device(|device| device.select(condition.view(), a.view(), b.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
