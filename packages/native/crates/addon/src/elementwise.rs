//! Functions of one and two operands, element by element.

use crate::numbers::{Handle, Number};
use crate::sizes::sizes;
use crate::tensors::{dtype_of, hand_out, js_error, new_tensor, new_zeroed, tensor, with_device};
use napi::{Error, Result, Status};
use napi_derive::napi;
use tensorloom_engine::DType;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::{BinaryOp, Broadcast, CompareOp, Predicate, UnaryOp};

/// Functions by code (src/kernels/unary.ts has the same order).
fn unary_op(code: Number, first: f64, second: f64) -> Result<UnaryOp> {
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

fn by_code<T: Copy>(all: &[T], code: Number) -> Result<T> {
    let code = code.count("code")?;
    all.get(code)
        .copied()
        .ok_or_else(|| Error::new(Status::InvalidArg, format!("code is {code}; there is no such function.")))
}

/// A function of each element, stored as `storage`.
#[napi(catch_unwind)]
pub fn unary(code: Number, x: Handle, first: f64, second: f64, storage: Number) -> Result<Handle> {
    let (op, x) = (unary_op(code, first, second)?, tensor("x", x)?);
    let mut output = new_tensor(x.len, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| device.unary(op, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// A question about each element: booleans.
#[napi(catch_unwind)]
pub fn predicate(code: Number, x: Handle) -> Result<Handle> {
    let predicate = by_code(&[Predicate::IsNan, Predicate::IsInf, Predicate::IsFinite, Predicate::Not], code)?;
    let x = tensor("x", x)?;
    let mut output = new_tensor(x.len, DType::Bool, Kind::Tensor)?;
    with_device(|device| device.predicate(predicate, x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// The same values, stored as another type.
#[napi(catch_unwind)]
pub fn cast(x: Handle, storage: Number) -> Result<Handle> {
    let x = tensor("x", x)?;
    let mut output = new_tensor(x.len, dtype_of("storage", storage)?, Kind::Tensor)?;
    with_device(|device| device.cast(x.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// One value everywhere. Of zeros pages take memory only once they are written.
#[napi(catch_unwind)]
pub fn filled(length: Number, value: f64, storage: Number) -> Result<Handle> {
    let (length, dtype) = (length.length("length")?, dtype_of("storage", storage)?);
    if value == 0.0 && value.is_sign_positive() {
        return Ok(hand_out(new_zeroed(length, dtype, Kind::Tensor)?));
    }
    let mut output = new_tensor(length, dtype, Kind::Tensor)?;
    with_device(|device| device.fill(value, output.view_mut()));
    Ok(hand_out(output))
}

/// A function of the elements of two tensors that meet by broadcasting: integers of integers, else floats stored as `storage`.
#[napi(catch_unwind)]
pub fn binary(code: Number, a: Handle, a_shape: &[i32], b: Handle, b_shape: &[i32], storage: Number) -> Result<Handle> {
    use BinaryOp::{Add, Div, Max, Min, Mul, Pow, SquaredDifference, Sub};
    let op = by_code(&[Add, Sub, Mul, Max, Min, Div, Pow, SquaredDifference], code)?;
    let (a, b) = (tensor("a", a)?, tensor("b", b)?);
    let shapes = Broadcast::new(&sizes(a_shape)?, &sizes(b_shape)?).map_err(js_error)?;
    let dtype = if a.dtype == DType::I32 { DType::I32 } else { dtype_of("storage", storage)? };
    let mut output = new_tensor(shapes.len(), dtype, Kind::Tensor)?;
    with_device(|device| device.binary(op, &shapes, a.view(), b.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// A question about the elements of two tensors that meet by broadcasting: booleans.
#[napi(catch_unwind)]
pub fn compare(code: Number, a: Handle, a_shape: &[i32], b: Handle, b_shape: &[i32]) -> Result<Handle> {
    use CompareOp::{And, Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual, Or, Xor};
    let op = by_code(&[Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, And, Or, Xor], code)?;
    let (a, b) = (tensor("a", a)?, tensor("b", b)?);
    let shapes = Broadcast::new(&sizes(a_shape)?, &sizes(b_shape)?).map_err(js_error)?;
    let mut output = new_tensor(shapes.len(), DType::Bool, Kind::Tensor)?;
    with_device(|device| device.compare(op, &shapes, a.view(), b.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}

/// Elements of `a` where the condition holds, else of `b`; floats are stored as `storage`.
#[napi(catch_unwind)]
pub fn select(condition: Handle, a: Handle, b: Handle, storage: Number) -> Result<Handle> {
    let (condition, a, b) = (tensor("condition", condition)?, tensor("a", a)?, tensor("b", b)?);
    let dtype = if a.dtype.is_float() { dtype_of("storage", storage)? } else { a.dtype };
    let mut output = new_tensor(a.len, dtype, Kind::Tensor)?;
    with_device(|device| device.select(condition.view(), a.view(), b.view(), output.view_mut())).map_err(js_error)?;
    Ok(hand_out(output))
}
