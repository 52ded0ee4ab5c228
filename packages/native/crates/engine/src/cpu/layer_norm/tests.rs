//! Layer normalization against plain loops in double precision.

use crate::cpu::CpuDevice;
use crate::cpu::testing::{STORAGES, Stored, assert_close, tolerance, values};
use crate::ops::{AddTo, LayerNorm, LayerNormGradients, RowMoments};
use crate::simd::testing::at_each_level;
use crate::{DType, View, ViewMut};

const EPSILON: f64 = 1e-5;

fn moments(row: &[f64]) -> (f64, f64) {
    let width = row.len() as f64;
    let mean = row.iter().sum::<f64>() / width;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

fn check(rows: usize, width: usize, dtype: DType, seed: u32) {
    let what = format!("{rows} x {width}, {dtype:?}");
    let bound = tolerance(dtype, 3e-6 * (rows as f64).sqrt().max(1.0));
    // An offset, as residual streams have.
    let x = Stored::new(&values(rows * width, seed).iter().map(|x| x * 2.0 + 3.0).collect::<Vec<_>>(), dtype);
    let dy = Stored::new(&values(rows * width, seed + 1), dtype);
    let (weight, bias) = (Stored::new(&values(width, seed + 2), dtype), Stored::new(&values(width, seed + 3), dtype));
    let mut output = Stored::new(&vec![0.0; rows * width], dtype);
    let (mut mean, mut inverse) = (vec![0.0f32; rows], vec![0.0f32; rows]);
    let device = CpuDevice::default();
    device
        .layer_norm(
            EPSILON as f32,
            x.view(),
            weight.view(),
            bias.view(),
            output.view_mut(),
            ViewMut::of(&mut mean),
            ViewMut::of(&mut inverse),
        )
        .expect("operands fit");

    let (xs, dys, w, b) = (x.values(), dy.values(), weight.values(), bias.values());
    let (mut y, mut dx, mut dw, mut db) = (vec![], vec![], vec![0.0; width], vec![0.0; width]);
    for (row, dy) in xs.chunks(width).zip(dys.chunks(width)) {
        let (mean, inverse) = moments(row);
        let normalized: Vec<f64> = row.iter().map(|x| (x - mean) * inverse).collect();
        let g: Vec<f64> = dy.iter().zip(&w).map(|(dy, w)| dy * w).collect();
        let g_mean = g.iter().sum::<f64>() / width as f64;
        let along = g.iter().zip(&normalized).map(|(g, n)| g * n).sum::<f64>() / width as f64;
        for i in 0..width {
            y.push(normalized[i] * w[i] + b[i]);
            dx.push((g[i] - g_mean - normalized[i] * along) * inverse);
            dw[i] += dy[i] * normalized[i];
            db[i] += dy[i];
        }
    }
    assert_close(&output.values(), &y, bound, &what);

    for add in [false, true] {
        let before = if add { 0.5 } else { f32::NAN };
        let mut x_gradient = Stored::new(&vec![before; rows * width], dtype);
        let (mut d_weight, mut d_bias) = (vec![before; width], vec![before; width]);
        let gradients = LayerNormGradients {
            x: x_gradient.view_mut(),
            weight: ViewMut::of(&mut d_weight),
            bias: ViewMut::of(&mut d_bias),
        };
        let kept = RowMoments { mean: View::of(&mean), inverse_deviation: View::of(&inverse) };
        device
            .layer_norm_grad(dy.view(), x.view(), weight.view(), kept, gradients, AddTo { x: add, parameters: add })
            .expect("operands fit");
        let offset = if add { 0.5 } else { 0.0 };
        let shifted = |values: &[f64]| values.iter().map(|x| x + offset).collect::<Vec<_>>();
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        // With one element the exact gradient is 0, and what is left is rounding times 1 / sqrt(epsilon).
        let dx_bound = if width == 1 { 1e-2 } else { bound * 4.0 };
        assert_close(&x_gradient.values(), &shifted(&dx), dx_bound, &format!("dx, {what}"));
        assert_close(&wide(&d_weight), &shifted(&dw), bound, &format!("d_weight, {what}"));
        assert_close(&wide(&d_bias), &shifted(&db), bound, &format!("d_bias, {what}"));
    }
}

#[test]
fn normalizes_rows_of_any_size_and_storage_with_its_gradients_at_every_level() {
    at_each_level(|_| {
        for dtype in STORAGES {
            for (rows, width) in [(1, 1), (1, 7), (7, 33), (33, 16), (1, 1023), (129, 64), (70, 1024), (3, 5000)] {
                check(rows, width, dtype, (rows + width) as u32);
            }
        }
    });
}

#[test]
fn no_rows_give_gradients_of_zero() {
    check(0, 5, DType::F32, 1);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let x = [0.0f32; 6];
    let result = CpuDevice::default().layer_norm(
        1e-5,
        View::of(&x),
        View::of(&[0.0f32; 3]),
        View::of(&[0.0f32; 2]),
        ViewMut::of(&mut [0.0f32; 6]),
        ViewMut::of(&mut [0.0f32; 2]),
        ViewMut::of(&mut [0.0f32; 2]),
    );
    assert!(result.is_err_and(|error| error.to_string().contains("bias has 2 elements; expected 3")));
}
