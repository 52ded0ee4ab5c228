//! Layer normalization.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// What a layer normalization keeps of each row for its gradient, float32 `[rows]` both.
#[derive(Clone, Copy)]
pub struct RowMoments<'a> {
    /// Mean of the row.
    pub mean: View<'a>,
    /// `1 / sqrt(variance + epsilon)`.
    pub inverse_deviation: View<'a>,
}

/// Gradients that a layer normalization writes.
pub struct LayerNormGradients<'a> {
    /// `[rows, width]`.
    pub x: ViewMut<'a>,
    /// Float32 `[width]`.
    pub weight: ViewMut<'a>,
    /// Float32 `[width]`.
    pub bias: ViewMut<'a>,
}

/// Which gradients are added to what is there, rather than overwriting it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddTo {
    /// The gradient of `x` (a residual connection beside the normalization has put its part there).
    pub x: bool,
    /// Those of `weight` and `bias` (accumulated over micro-batches).
    pub parameters: bool,
}

/// Layer normalization over rows of `weight.len()` elements (Ba et al., 2016), biased variance.
pub trait LayerNorm {
    /// `output = (x - mean) * inverse_deviation * weight + bias`, and the two moments of each row. `x`, `output` are `[rows, width]`, floats of
    /// any storage; `weight`, `bias` are `[width]`; `mean`, `inverse_deviation` are float32 `[rows]`.
    ///
    /// # Errors
    /// If shapes do not fit or operands are not floats.
    fn layer_norm(
        &self,
        epsilon: f32,
        x: View<'_>,
        weight: View<'_>,
        bias: View<'_>,
        output: ViewMut<'_>,
        mean: ViewMut<'_>,
        inverse_deviation: ViewMut<'_>,
    ) -> Result<()>;

    /// The gradients for `output_gradient [rows, width]`. Parts of `weight` and `bias` are summed in an order that depends on the shape only.
    ///
    /// # Errors
    /// If shapes do not fit or operands are not floats.
    fn layer_norm_grad(
        &self,
        output_gradient: View<'_>,
        x: View<'_>,
        weight: View<'_>,
        moments: RowMoments<'_>,
        gradients: LayerNormGradients<'_>,
        add_to: AddTo,
    ) -> Result<()>;
}
