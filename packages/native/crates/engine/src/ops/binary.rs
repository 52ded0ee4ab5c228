//! Functions of two operands, element by element, with broadcasting.

use super::broadcast::Broadcast;
use crate::error::Result;
use crate::storage::{View, ViewMut};

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a * b
    Mul,
    /// The greater; NaN if one is.
    Max,
    /// The lesser; NaN if one is.
    Min,
    /// a / b, of floats only.
    Div,
    /// a to the power of b as in JavaScript, of floats only.
    Pow,
    /// (a - b)^2, of floats only.
    SquaredDifference,
}

/// A question about two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// a = b
    Equal,
    /// a ≠ b
    NotEqual,
    /// a < b
    Less,
    /// a ≤ b
    LessEqual,
    /// a > b
    Greater,
    /// a ≥ b
    GreaterEqual,
    /// a and b, of booleans only.
    And,
    /// a or b, of booleans only.
    Or,
    /// Either a or b, of booleans only.
    Xor,
}

/// Functions of two operands.
pub trait Binary {
    /// `out = op(a, b)`: all floats of any storage, or all integers (modulo 2^32).
    ///
    /// # Errors
    /// If the operands are of other types or do not fit the shapes.
    fn binary(&self, op: BinaryOp, shapes: &Broadcast, a: View<'_>, b: View<'_>, out: ViewMut<'_>) -> Result<()>;

    /// `out = op(a, b)`: booleans of two operands of floats, integers or booleans.
    ///
    /// # Errors
    /// As for [`Binary::binary`].
    fn compare(&self, op: CompareOp, shapes: &Broadcast, a: View<'_>, b: View<'_>, out: ViewMut<'_>) -> Result<()>;

    /// `out = condition ? a : b`, all of one length; floats of any storage or equal types.
    ///
    /// # Errors
    /// As for [`Binary::binary`].
    fn select(&self, condition: View<'_>, a: View<'_>, b: View<'_>, out: ViewMut<'_>) -> Result<()>;
}
