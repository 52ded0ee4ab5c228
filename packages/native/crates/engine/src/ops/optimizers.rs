//! Updates of parameters in place.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// Constants of one step of Adam: `g = s g + c w; m += a (g - m); v = b v + (1 - b) g²; w = k w - r m / (sqrt(v) + e)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamFactors {
    /// s: what gradients are multiplied with.
    pub gradient_scale: f32,
    /// c: weight decay that enters the gradient.
    pub coupled_decay: f32,
    /// a: 1 - β1.
    pub first_share: f32,
    /// b: β2.
    pub second_kept: f32,
    /// 1 - β2.
    pub second_share: f32,
    /// k: 1 - lr × decay that does not enter the gradient.
    pub value_kept: f32,
    /// r: learning rate, corrected for both moments' start at zero.
    pub rate: f32,
    /// e, corrected as the second moment's root.
    pub epsilon: f32,
}

/// Constants of one step of gradient descent: `g = s g + c w; b = μ b + (1 - dampening) g; w -= lr (nesterov ? g + μ b : b)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdFactors {
    /// s: what gradients are multiplied with.
    pub gradient_scale: f32,
    /// c.
    pub weight_decay: f32,
    /// μ.
    pub momentum: f32,
    /// 1 - dampening; 1 in the first step.
    pub gradient_share: f32,
    /// Learning rate.
    pub rate: f32,
    /// Nesterov's momentum.
    pub nesterov: bool,
}

/// Which rows of a table a step visits, and where the gradient of each is.
#[derive(Clone, Copy)]
pub struct VisitedRows<'a> {
    /// Row numbers in the table, each once. Moments lie in this order.
    pub rows: &'a [i32],
    /// For each row the element of the gradients at which its own begin; -1 where it has none.
    pub offsets: &'a [i32],
    /// Elements of a row.
    pub width: usize,
}

/// Updates of parameters in place. Operands are floats of any storage; all is computed in float32.
pub trait Optimizers {
    /// One step of Adam on a whole parameter.
    ///
    /// # Errors
    /// If operands differ in length or are no floats.
    fn adam_step(
        &self,
        value: ViewMut<'_>,
        gradient: View<'_>,
        exp_avg: ViewMut<'_>,
        exp_avg_sq: ViewMut<'_>,
        factors: AdamFactors,
    ) -> Result<()>;

    /// One step of gradient descent on a whole parameter, with momentum if there is a buffer for it.
    ///
    /// # Errors
    /// If operands differ in length or are no floats.
    fn sgd_step(
        &self,
        value: ViewMut<'_>,
        gradient: View<'_>,
        momentum: Option<ViewMut<'_>>,
        factors: SgdFactors,
    ) -> Result<()>;

    /// One step of Adam on a table: `value_kept` on every row, the rest on those visited only. Rows without a gradient have one of zeros.
    ///
    /// # Errors
    /// If operands are too short, a row is out of range or comes twice, or operands are no floats.
    fn adam_rows(
        &self,
        table: ViewMut<'_>,
        gradients: View<'_>,
        exp_avg: ViewMut<'_>,
        exp_avg_sq: ViewMut<'_>,
        visited: VisitedRows<'_>,
        factors: AdamFactors,
    ) -> Result<()>;

    /// One step of gradient descent on the visited rows of a table.
    ///
    /// # Errors
    /// As [`Optimizers::adam_rows`].
    fn sgd_rows(
        &self,
        table: ViewMut<'_>,
        gradients: View<'_>,
        momentum: Option<ViewMut<'_>>,
        visited: VisitedRows<'_>,
        factors: SgdFactors,
    ) -> Result<()>;
}
