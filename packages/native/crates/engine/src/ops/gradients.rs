//! What is done to gradients between backward and step.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// Sums, scales and norms of gradients. Operands are floats of any storage.
pub trait Gradients {
    /// `into += gradient`.
    ///
    /// # Errors
    /// If operands differ in length or are no floats.
    fn accumulate(&self, into: ViewMut<'_>, gradient: View<'_>) -> Result<()>;

    /// `values *= factor`.
    ///
    /// # Errors
    /// If the values are no floats.
    fn scale_in_place(&self, values: ViewMut<'_>, factor: f32) -> Result<()>;

    /// The p-norm of all tensors taken as one vector (`p` infinite: the largest absolute value), summed in float64: it is not
    /// finite exactly if some element is not (for p up to 8), and does not depend on the number of threads.
    ///
    /// # Errors
    /// If the values are no floats.
    fn norm(&self, tensors: &[View<'_>], p: f64) -> Result<f64>;

    /// `into[positions[i]] += rows[i]` for each row of `width` elements. A position comes once at most.
    ///
    /// # Errors
    /// If operands do not fit, a position is out of range or comes twice, or operands are no floats.
    fn add_rows(&self, into: ViewMut<'_>, rows: View<'_>, positions: &[i32], width: usize) -> Result<()>;
}
