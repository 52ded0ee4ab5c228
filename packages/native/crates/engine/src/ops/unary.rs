//! Functions of one operand, element by element.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// A function from float32 to float32, with what tfjs's kernel of that name does for special values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UnaryOp {
    /// |x|
    Abs,
    /// -x
    Neg,
    /// e^x
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// 1 / sqrt(x)
    Rsqrt,
    /// x * x
    Square,
    /// 1 / x
    Reciprocal,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// max(0, x)
    Relu,
    /// min(max(0, x), 6)
    Relu6,
    /// x, or e^x - 1 below zero.
    Elu,
    /// -1, 0 or 1; 0 for NaN.
    Sign,
    /// The integer below.
    Floor,
    /// The integer above.
    Ceil,
    /// The nearest integer, the even one of two.
    Round,
    /// x, or its multiple below zero.
    LeakyRelu {
        /// Multiplies what is below zero.
        slope: f32,
    },
    /// 1 above zero, else a constant.
    Step {
        /// That constant.
        below: f32,
    },
    /// Limited to an interval.
    Clip {
        /// Its lower end.
        low: f32,
        /// Its upper end, which wins if it is less than the lower.
        high: f32,
    },
}

/// A question about one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predicate {
    /// Of a float.
    IsNan,
    /// Of a float.
    IsInf,
    /// Of a float.
    IsFinite,
    /// Whether a boolean is false.
    Not,
}

/// Functions of one operand.
pub trait Unary {
    /// `out = op(x)`, floats of any storage.
    ///
    /// # Errors
    /// If these are no floats or not as many.
    fn unary(&self, op: UnaryOp, x: View<'_>, out: ViewMut<'_>) -> Result<()>;

    /// `out = predicate(x)`, booleans.
    ///
    /// # Errors
    /// If `x` is not what the predicate takes, `out` not of booleans, or there are not as many.
    fn predicate(&self, predicate: Predicate, x: View<'_>, out: ViewMut<'_>) -> Result<()>;

    /// `out = x` as another type: floats become integers as in JavaScript (toward zero, modulo 2^32, NaN as 0), numbers become
    /// booleans by being other than 0.
    ///
    /// # Errors
    /// If there are not as many.
    fn cast(&self, x: View<'_>, out: ViewMut<'_>) -> Result<()>;

    /// `out = value` everywhere, converted as by [`Unary::cast`].
    fn fill(&self, value: f64, out: ViewMut<'_>);
}
