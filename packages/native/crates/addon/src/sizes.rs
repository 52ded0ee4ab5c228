//! Shapes that JavaScript gives, checked: what does not fit would wrap around, and kernels would leave their memory.

use crate::tensors::Tensor;
use napi::{Error, Result, Status};

fn refused(reason: String) -> Error {
    Error::new(Status::InvalidArg, reason)
}

/// A shape as the engine takes it.
pub fn sizes(shape: &[i32]) -> Result<Vec<usize>> {
    shape
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| refused(format!("A shape cannot be {shape:?}."))))
        .collect()
}

/// The elements of a shape.
pub fn product(shape: &[usize]) -> Result<usize> {
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .ok_or_else(|| refused(format!("A tensor of shape {shape:?} is too large.")))
}

/// Refuses an operand that has not exactly so many elements.
pub fn expect_len(what: &str, tensor: &Tensor, expected: usize) -> Result<()> {
    if tensor.len == expected {
        return Ok(());
    }
    Err(refused(format!("{what} has {} elements; expected {expected}.", tensor.len)))
}
