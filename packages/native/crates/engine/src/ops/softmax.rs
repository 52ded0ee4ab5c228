//! Softmax.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// Softmax over rows.
pub trait Softmax {
    /// `output = exp(x) / sum(exp(x))` of each row of `width` elements, floats of any storage.
    ///
    /// # Errors
    /// If lengths differ, are no multiples of `width`, or operands are not floats.
    fn softmax(&self, width: usize, x: View<'_>, output: ViewMut<'_>) -> Result<()>;
}
