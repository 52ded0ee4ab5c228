//! Rows of a table by number, and sums of rows by number.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// Rows of a table by number, and its gradient: sums of rows.
pub trait Embedding {
    /// Row `i` of `output [indices, width]` is row `indices[i]` of `table [rows, width]`.
    ///
    /// # Errors
    /// If an index is out of range, lengths do not fit, or operands are no floats.
    fn gather_rows(&self, table: View<'_>, indices: &[i32], width: usize, output: ViewMut<'_>) -> Result<()>;

    /// Row `j` of `output` is the sum of those rows `i` of `values [slots, width]` for which `slots[i]` is `j`, in their order.
    ///
    /// # Errors
    /// If a slot is out of range, lengths do not fit, or operands are no floats.
    fn sum_rows(&self, values: View<'_>, slots: &[i32], width: usize, output: ViewMut<'_>) -> Result<()>;
}
