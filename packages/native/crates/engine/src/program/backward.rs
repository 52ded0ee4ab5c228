//! A block's backward.

use super::block::{Affine, Block, BlockInput, BlockSpec, Sizes, Target, attention};
use super::forward::{kept_of, run};
use super::plan::{Keeping, Kept, backward_regions, forward_bytes, total};
use super::slab::{Slab, Workspace};
use crate::device::Device;
use crate::error::{EngineError, Result};
use crate::ops::{AddTo, Arithmetic, Dropping, Epilogue, GemmShape, LayerNormGradients, Matrix, MatrixMut, RowMoments};
use crate::storage::{DType, View, ViewMut};

/// Writes the gradient of `hidden`, float32, and those of the parameters that have a target.
///
/// `kept` is what forward kept; without it forward runs again, with what `spec` says is dropped. Gradients then have the same bits.
///
/// # Errors
/// If operands do not fit, or there is no memory left.
pub fn backward(
    device: &dyn Device,
    workspace: &mut Workspace,
    spec: &BlockSpec<'_>,
    weights: &Block<View<'_>>,
    input: &BlockInput<'_>,
    kept: Option<Slab<'_>>,
    output_gradient: View<'_>,
    gradients: Block<Option<Target<'_>>>,
    hidden_gradient: ViewMut<'_>,
) -> Result<()> {
    let sizes = Sizes::of(spec, weights, input)?;
    for (what, len) in [("output_gradient", output_gradient.len()), ("hidden_gradient", hidden_gradient.len())] {
        if len != input.hidden.len() {
            let expected = input.hidden.len();
            return Err(EngineError::BadOperand(format!("block: {what} has {len} elements; expected {expected}.")));
        }
    }
    let regions = backward_regions(&sizes)?;
    let work = total(&regions)?;
    let Some(kept) = kept else {
        let work = work.max(forward_bytes(&sizes)?);
        let kept = kept_of(&sizes)?;
        let mut scratch = workspace.slab(device, total(&[kept, work])?)?;
        let mut again = scratch.cut(kept)?;
        let mut keeping = Keeping::of(again.again(), &sizes)?;
        run(device, spec, &sizes, weights, input, &mut keeping, scratch.again(), None)?;
        let kept = Kept::of(again, &sizes)?;
        return Backward { device, spec, sizes, weights, input, kept, regions }.run(
            scratch,
            output_gradient,
            gradients,
            hidden_gradient,
        );
    };
    let kept = Kept::of(kept, &sizes)?;
    let scratch = workspace.slab(device, work)?;
    Backward { device, spec, sizes, weights, input, kept, regions }.run(
        scratch,
        output_gradient,
        gradients,
        hidden_gradient,
    )
}

struct Backward<'a> {
    device: &'a dyn Device,
    spec: &'a BlockSpec<'a>,
    sizes: Sizes,
    weights: &'a Block<View<'a>>,
    input: &'a BlockInput<'a>,
    kept: Kept<'a>,
    regions: [usize; 3],
}

impl Backward<'_> {
    fn run(
        &self,
        mut scratch: Slab<'_>,
        dy: View<'_>,
        gradients: Block<Option<Target<'_>>>,
        mut dx: ViewMut<'_>,
    ) -> Result<()> {
        let Sizes { tokens, width, inner, storage, .. } = self.sizes;
        let (device, weights, kept) = (self.device, self.weights, &self.kept);
        let after_norm = self.spec.residual_after_norm;
        let [first, second] = self.spec.hidden_droppings;
        // What lies in each region is said in `plan`.
        let mut outputs = scratch.cut(self.regions[0])?;
        let mut inner_region = scratch.cut(self.regions[1])?;
        let mut hidden_region = scratch.cut(self.regions[2])?;
        let mut unwanted = hidden_region.cut(2 * Slab::bytes_of(width, DType::F32)?)?;

        // The MLP: `dx` becomes the gradient of `middle`.
        {
            let mut rows = hidden_region.again();
            let mut normed_gradient = rows.take(tokens * width, DType::F32)?;
            let mut dropped = rows.take(tokens * width, DType::F32)?;
            let dy_dropped = self.drop(dy, second, &mut dropped)?;
            let mut inner_rows = inner_region.again();
            let mut inner_gradient = inner_rows.take(tokens * inner, DType::F32)?;
            self.input_gradient(dy_dropped, &weights.down, inner_gradient.reborrow(), None)?;
            {
                let mut activated = outputs.again().take(tokens * inner, storage)?;
                device.gelu_again(kept.up, inner_gradient.reborrow(), activated.reborrow())?;
                self.parameter_gradients(dy_dropped, activated.as_view(), gradients.down)?;
            }
            let mut rows = outputs.again();
            let mut normed = rows.take(tokens * width, storage)?;
            if gradients.up.weight.is_some() {
                self.norm_again(kept.middle, &weights.post_norm, normed.reborrow(), rows)?;
            }
            self.parameter_gradients(inner_gradient.as_view(), normed.as_view(), gradients.up)?;
            let residual = after_norm.then_some(dy);
            self.input_gradient(inner_gradient.as_view(), &weights.up, normed_gradient.reborrow(), residual)?;
            if !after_norm {
                device.cast(dy, dx.reborrow())?;
            }
            let moments = moments_of(kept.post_moments);
            let operands = (normed_gradient.as_view(), kept.middle, &weights.post_norm, moments);
            self.norm_gradients(operands, gradients.post_norm, dx.reborrow(), !after_norm, unwanted.again())?;
        }

        // Attention: `dx` becomes the gradient of `hidden`.
        let mut rows = hidden_region.again();
        let mut context_gradient = rows.take(tokens * width, DType::F32)?;
        {
            let mut dropped = rows.again().take(tokens * width, DType::F32)?;
            let dense_gradient = self.drop(dx.as_view(), first, &mut dropped)?;
            self.parameter_gradients(dense_gradient, kept.context, gradients.dense)?;
            self.input_gradient(dense_gradient, &weights.dense, context_gradient.reborrow(), None)?;
        }
        let mut normed_gradient = rows.take(tokens * width, DType::F32)?;
        let mut qkv_gradient = inner_region.take(tokens * 3 * width, DType::F32)?;
        device.bloom_attention_gradient(
            attention(self.spec, &self.sizes, self.input, kept.qkv),
            context_gradient.as_view(),
            kept.context,
            kept.log_sum_exp,
            qkv_gradient.reborrow(),
        )?;
        let mut normed = outputs.take(tokens * width, storage)?;
        if gradients.query_key_value.weight.is_some() {
            self.norm_again(self.input.hidden, &weights.input_norm, normed.reborrow(), outputs)?;
        }
        self.parameter_gradients(qkv_gradient.as_view(), normed.as_view(), gradients.query_key_value)?;
        let residual = after_norm.then_some(dx.as_view());
        self.input_gradient(qkv_gradient.as_view(), &weights.query_key_value, normed_gradient.reborrow(), residual)?;
        let moments = moments_of(kept.input_moments);
        let operands = (normed_gradient.as_view(), self.input.hidden, &weights.input_norm, moments);
        self.norm_gradients(operands, gradients.input_norm, dx, !after_norm, unwanted)
    }

    /// The gradient of what is dropped from: `dy` itself if nothing is.
    fn drop<'v>(&self, dy: View<'v>, dropping: Dropping, dropped: &'v mut ViewMut<'_>) -> Result<View<'v>> {
        if dropping.rate == 0.0 {
            return Ok(dy);
        }
        self.device.dropout(dy, dropping, dropped.reborrow())?;
        Ok(dropped.as_view())
    }

    /// `to = dy weight (+ residual)`
    fn input_gradient(
        &self,
        dy: View<'_>,
        weights: &Affine<View<'_>>,
        to: ViewMut<'_>,
        residual: Option<View<'_>>,
    ) -> Result<()> {
        let k = weights.bias.len();
        let n = weights.weight.len() / k.max(1);
        let shape = GemmShape { m: self.sizes.tokens, n, k };
        let (dy, weight) = (Matrix::row_major(dy, k), Matrix::row_major(weights.weight, n));
        let epilogue = Epilogue { residual, ..Epilogue::default() };
        self.device.gemm(Arithmetic::of(self.sizes.storage), shape, dy, weight, MatrixMut { data: to }, false, epilogue)
    }

    /// `weight += dyᵀ x`, `bias += the sum of dy over tokens`
    fn parameter_gradients(&self, dy: View<'_>, x: View<'_>, to: Affine<Option<Target<'_>>>) -> Result<()> {
        let tokens = self.sizes.tokens;
        let (m, n) = (dy.len() / tokens.max(1), x.len() / tokens.max(1));
        if let Some(Target { to, accumulate }) = to.weight {
            let (dy, x) = (Matrix::row_major(dy, m).transposed(), Matrix::row_major(x, n));
            let shape = GemmShape { m, n, k: tokens };
            self.device.gemm(
                Arithmetic::of(self.sizes.storage),
                shape,
                dy,
                x,
                MatrixMut { data: to },
                accumulate,
                Epilogue::default(),
            )?;
        }
        if let Some(Target { to, accumulate }) = to.bias {
            self.device.column_sums(tokens, m, dy, to, accumulate)?;
        }
        Ok(())
    }

    /// A norm's output. Its moments come out the same again.
    fn norm_again(&self, x: View<'_>, norm: &Affine<View<'_>>, to: ViewMut<'_>, mut scratch: Slab<'_>) -> Result<()> {
        let (mean, deviation) =
            (scratch.take(self.sizes.tokens, DType::F32)?, scratch.take(self.sizes.tokens, DType::F32)?);
        self.device.layer_norm(self.spec.epsilon, x, norm.weight, norm.bias, to, mean, deviation)
    }

    /// A norm's gradients. Its kernel writes all of them: those of parameters that nobody wants go to `unwanted`.
    fn norm_gradients<'t>(
        &self,
        (dy, x, norm, moments): (View<'_>, View<'_>, &Affine<View<'_>>, RowMoments<'_>),
        gradients: Affine<Option<Target<'t>>>,
        dx: ViewMut<'_>,
        add_to_x: bool,
        mut unwanted: Slab<'t>,
    ) -> Result<()> {
        let weight = self.norm_target(gradients.weight, &mut unwanted)?;
        let bias = self.norm_target(gradients.bias, &mut unwanted)?;
        let gradients = LayerNormGradients { x: dx, weight, bias };
        self.device.layer_norm_grad(dy, x, norm.weight, moments, gradients, AddTo { x: add_to_x, parameters: true })
    }

    /// Where to add a gradient. The kernel adds to both or none, so what is to be overwritten is zeroed.
    fn norm_target<'t>(&self, target: Option<Target<'t>>, unwanted: &mut Slab<'t>) -> Result<ViewMut<'t>> {
        let (mut to, accumulate) = match target {
            Some(Target { to, accumulate }) => (to, accumulate),
            None => (unwanted.take(self.sizes.width, DType::F32)?, false),
        };
        if !accumulate {
            self.device.fill(0.0, to.reborrow());
        }
        Ok(to)
    }
}

fn moments_of<'a>([mean, inverse_deviation]: [View<'a>; 2]) -> RowMoments<'a> {
    RowMoments { mean, inverse_deviation }
}
