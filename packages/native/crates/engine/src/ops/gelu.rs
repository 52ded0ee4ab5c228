//! BLOOM's activation.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// `0.5 x (1 + tanh(0.79788456 (x + 0.044715 x³)))`, the tanh approximation of GELU with BLOOM's rounded constant. All operands have one
/// length and are floats of any storage.
pub trait Gelu {
    /// `output = gelu(x)`.
    ///
    /// # Errors
    /// If lengths differ or operands are not floats.
    fn gelu(&self, x: View<'_>, output: ViewMut<'_>) -> Result<()>;

    /// `x_gradient = output_gradient * gelu'(x)`.
    ///
    /// # Errors
    /// If lengths differ or operands are not floats.
    fn gelu_grad(&self, output_gradient: View<'_>, x: View<'_>, x_gradient: ViewMut<'_>) -> Result<()>;

    /// Both at once, for a backward that has not kept the output: `output = gelu(x)` and, in place, `gradient *= gelu'(x)`.
    ///
    /// # Errors
    /// If lengths differ or operands are not floats.
    fn gelu_again(&self, x: View<'_>, gradient: ViewMut<'_>, output: ViewMut<'_>) -> Result<()>;
}
