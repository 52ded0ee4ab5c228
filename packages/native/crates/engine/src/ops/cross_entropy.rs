//! Softmax cross-entropy.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// The class of each row.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// Int32 `[rows]`: a class, or `ignore_index`.
    pub labels: View<'a>,
    /// Rows of this label do not count.
    pub ignore_index: i32,
    /// The number of rows that count, by which the loss is divided; 0 is taken for 1.
    pub items: f32,
}

/// Where a gradient finds the logits.
#[derive(Clone, Copy)]
pub enum Logits<'a> {
    /// In a tensor of their own, `[rows, classes]`.
    Apart(View<'a>),
    /// In the tensor that takes the gradient, which overwrites them: no second tensor of that size is needed.
    InGradient,
}

/// Mean of `-log softmax(logits)[label]` over the rows that count. Rows may have as many classes as a vocabulary has.
pub trait CrossEntropy {
    /// `loss` is float32 `[1]`; `log_sum_exp`, float32 `[rows]`, is what the gradient needs (undefined for rows that do not count).
    ///
    /// # Errors
    /// If shapes do not fit, a label is neither a class nor ignored, or operands are of other types.
    fn cross_entropy(
        &self,
        logits: View<'_>,
        targets: Targets<'_>,
        loss: ViewMut<'_>,
        log_sum_exp: ViewMut<'_>,
    ) -> Result<()>;

    /// `gradient [rows, classes]` of the logits, for the loss's gradient `output_gradient [1]`; zero in rows that do not count.
    ///
    /// # Errors
    /// As for `cross_entropy`.
    fn cross_entropy_grad(
        &self,
        output_gradient: View<'_>,
        logits: Logits<'_>,
        targets: Targets<'_>,
        log_sum_exp: View<'_>,
        gradient: ViewMut<'_>,
    ) -> Result<()>;
}
