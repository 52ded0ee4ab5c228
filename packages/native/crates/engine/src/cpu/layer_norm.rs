//! Layer normalization: each row is read into the first cache once, forward and backward.

use super::CpuDevice;
use super::math::fma;
use super::rows::{Floats, blocks, elements, expect_len, rows_per_piece, rows_per_sum, sum};
use crate::error::Result;
use crate::ops::{AddTo, LayerNorm, LayerNormGradients, RowMoments};
use crate::simd::{FmaKernel, dispatch_fma};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::{SharedMut, for_ranges, map_ranges};

impl LayerNorm for CpuDevice {
    fn layer_norm(
        &self,
        epsilon: f32,
        x: View<'_>,
        weight: View<'_>,
        bias: View<'_>,
        output: ViewMut<'_>,
        mut mean: ViewMut<'_>,
        mut inverse_deviation: ViewMut<'_>,
    ) -> Result<()> {
        let (width, rows) = (weight.len(), mean.len());
        expect_len("layer_norm", "x", x.len(), rows * width)?;
        expect_len("layer_norm", "bias", bias.len(), width)?;
        expect_len("layer_norm", "output", output.len(), rows * width)?;
        expect_len("layer_norm", "inverse_deviation", inverse_deviation.len(), rows)?;
        let (mut weight_scratch, mut bias_scratch) = (Vec::new(), Vec::new());
        let weight = weight.floats(0..width, &mut weight_scratch)?;
        let bias = bias.floats(0..width, &mut bias_scratch)?;
        let x = Floats::new(x)?;
        let output = FloatsMut::new(output)?;
        let mean = SharedMut::new(mean.slice::<f32>()?);
        let inverse_deviation = SharedMut::new(inverse_deviation.slice::<f32>()?);
        for_ranges(rows, rows_per_piece(width), |piece| {
            let (mut x_scratch, mut output_scratch) = (Vec::new(), Vec::new());
            for block in blocks(piece, width) {
                let range = elements(&block, width);
                let x = x.range(range.clone(), &mut x_scratch);
                // SAFETY: blocks do not overlap.
                let (mean, inverse_deviation) =
                    unsafe { (mean.range(block.clone()), inverse_deviation.range(block.clone())) };
                // SAFETY: as above.
                unsafe {
                    output.with_range(range, false, &mut output_scratch, |output| {
                        dispatch_fma(Forward { epsilon, x, weight, bias, output, mean, inverse_deviation });
                    });
                }
            }
        });
        Ok(())
    }

    fn layer_norm_grad(
        &self,
        output_gradient: View<'_>,
        x: View<'_>,
        weight: View<'_>,
        moments: RowMoments<'_>,
        mut gradients: LayerNormGradients<'_>,
        add_to: AddTo,
    ) -> Result<()> {
        let (width, rows) = (weight.len(), moments.mean.len());
        expect_len("layer_norm_grad", "x", x.len(), rows * width)?;
        expect_len("layer_norm_grad", "output_gradient", output_gradient.len(), rows * width)?;
        expect_len("layer_norm_grad", "inverse_deviation", moments.inverse_deviation.len(), rows)?;
        expect_len("layer_norm_grad", "the gradient of x", gradients.x.len(), rows * width)?;
        expect_len("layer_norm_grad", "the gradient of weight", gradients.weight.len(), width)?;
        expect_len("layer_norm_grad", "the gradient of bias", gradients.bias.len(), width)?;
        let mut weight_scratch = Vec::new();
        let weight = weight.floats(0..width, &mut weight_scratch)?;
        let (mean, inverse_deviation) = (moments.mean.slice::<f32>()?, moments.inverse_deviation.slice::<f32>()?);
        let output_gradient = Floats::new(output_gradient)?;
        let x = Floats::new(x)?;
        let x_gradient = FloatsMut::new(gradients.x)?;
        let sums = map_ranges(rows, rows_per_sum(rows, width), |piece| {
            let mut sums = vec![0.0; 2 * width];
            let (mut dy_scratch, mut x_scratch, mut dx_scratch) = (Vec::new(), Vec::new(), Vec::new());
            for block in blocks(piece, width) {
                let range = elements(&block, width);
                let dy = output_gradient.range(range.clone(), &mut dy_scratch);
                let x = x.range(range.clone(), &mut x_scratch);
                let (d_weight, d_bias) = sums.split_at_mut(width);
                let (mean, inverse_deviation) = (&mean[block.clone()], &inverse_deviation[block]);
                // SAFETY: blocks do not overlap.
                unsafe {
                    x_gradient.with_range(range, add_to.x, &mut dx_scratch, |dx| {
                        let add = add_to.x;
                        dispatch_fma(Backward { dy, x, weight, mean, inverse_deviation, dx, d_weight, d_bias, add });
                    });
                }
            }
            sums
        });
        join_sums(&sums, 0, gradients.weight.slice::<f32>()?, add_to.parameters);
        join_sums(&sums, width, gradients.bias.slice::<f32>()?, add_to.parameters);
        Ok(())
    }
}

/// Adds up the pieces' sums from `offset` on, in order.
fn join_sums(sums: &[Vec<f32>], offset: usize, to: &mut [f32], add: bool) {
    let len = to.len();
    let (first, rest) = sums.split_first().map_or((None, sums), |(first, rest)| (Some(first), rest));
    match first {
        Some(first) if add => to.iter_mut().zip(&first[offset..offset + len]).for_each(|(to, x)| *to += x),
        Some(first) => to.copy_from_slice(&first[offset..offset + len]),
        None if add => {}
        None => to.fill(0.0),
    }
    for piece in rest {
        to.iter_mut().zip(&piece[offset..offset + len]).for_each(|(to, x)| *to += x);
    }
}

/// Some whole rows.
struct Forward<'a> {
    epsilon: f32,
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    output: &'a mut [f32],
    mean: &'a mut [f32],
    inverse_deviation: &'a mut [f32],
}

impl FmaKernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let width = self.weight.len();
        let reciprocal = 1.0 / width as f32;
        for row in 0..self.mean.len() {
            let range = row * width..(row + 1) * width;
            let (x, output) = (&self.x[range.clone()], &mut self.output[range]);
            let mean = sum(x, |x| x) * reciprocal;
            let variance = sum(x, |x| (x - mean) * (x - mean)) * reciprocal;
            let inverse = 1.0 / (variance + self.epsilon).sqrt();
            (self.mean[row], self.inverse_deviation[row]) = (mean, inverse);
            for (((y, &x), &w), &b) in output.iter_mut().zip(x).zip(self.weight).zip(self.bias) {
                *y = fma::<FMA>((x - mean) * inverse, w, b);
            }
        }
    }
}

/// Some whole rows; adds their part to `d_weight` and `d_bias`.
struct Backward<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    weight: &'a [f32],
    mean: &'a [f32],
    inverse_deviation: &'a [f32],
    dx: &'a mut [f32],
    d_weight: &'a mut [f32],
    d_bias: &'a mut [f32],
    add: bool,
}

const STEP: usize = 16;

impl FmaKernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let width = self.weight.len();
        let reciprocal = 1.0 / width as f32;
        for row in 0..self.mean.len() {
            let range = row * width..(row + 1) * width;
            let (dy, x, dx) = (&self.dy[range.clone()], &self.x[range.clone()], &mut self.dx[range]);
            let (mean, inverse) = (self.mean[row], self.inverse_deviation[row]);
            let [g, along] = sums_of_row::<FMA>(dy, x, self.weight, mean, inverse, self.d_weight, self.d_bias);
            let (g, along) = (g * reciprocal, along * reciprocal);
            let value = |dy: f32, x: f32, w: f32| fma::<FMA>((x - mean) * inverse, -along, fma::<FMA>(dy, w, -g));
            let terms = dx.iter_mut().zip(dy).zip(x).zip(self.weight);
            if self.add {
                terms.for_each(|(((dx, &dy), &x), &w)| *dx = fma::<FMA>(value(dy, x, w), inverse, *dx));
            } else {
                terms.for_each(|(((dx, &dy), &x), &w)| *dx = value(dy, x, w) * inverse);
            }
        }
    }
}

/// The sums of `dy * weight` and of that times the normalized row; adds the row's part to `d_weight` and `d_bias`.
#[inline(always)]
fn sums_of_row<const FMA: bool>(
    dy: &[f32],
    x: &[f32],
    weight: &[f32],
    mean: f32,
    inverse: f32,
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) -> [f32; 2] {
    let (mut g_lanes, mut along_lanes) = ([0.0; STEP], [0.0; STEP]);
    let mut one = |lane: usize, dy: f32, x: f32, w: f32, d_weight: &mut f32, d_bias: &mut f32| {
        let normalized = (x - mean) * inverse;
        *d_weight = fma::<FMA>(dy, normalized, *d_weight);
        *d_bias += dy;
        g_lanes[lane] = fma::<FMA>(dy, w, g_lanes[lane]);
        along_lanes[lane] = fma::<FMA>(dy * w, normalized, along_lanes[lane]);
    };
    let ((dy, dy_rest), (x, x_rest), (w, w_rest)) = (dy.as_chunks(), x.as_chunks(), weight.as_chunks());
    let ((dw, dw_rest), (db, db_rest)) = (d_weight.as_chunks_mut(), d_bias.as_chunks_mut());
    for ((((dy, x), w), dw), db) in dy.iter().zip(x).zip(w).zip(dw).zip(db) {
        let (dy, x, w, dw, db): (&[_; STEP], &[_; STEP], &[_; STEP], &mut [_; STEP], &mut [_; STEP]) =
            (dy, x, w, dw, db);
        for i in 0..STEP {
            one(i, dy[i], x[i], w[i], &mut dw[i], &mut db[i]);
        }
    }
    for i in 0..dy_rest.len() {
        one(i, dy_rest[i], x_rest[i], w_rest[i], &mut dw_rest[i], &mut db_rest[i]);
    }
    [g_lanes.iter().sum(), along_lanes.iter().sum()]
}

#[cfg(test)]
mod tests;
