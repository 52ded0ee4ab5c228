//! Products against plain loops in double precision.

mod stored;
mod threads;

use super::{Pool, multiply};
use crate::cpu::CpuDevice;
use crate::ops::{Arithmetic, Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use crate::simd::Simd;
use crate::storage::{DType, View, ViewMut};
use proptest::prelude::*;
use stored::Stored;

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i + 3) * (seed * 2 + 7919) % 1009) as f32 - 504.0) / 504.0).collect()
}

/// How a matrix lies in memory: rows or columns together, with gaps.
#[derive(Debug, Clone, Copy)]
struct Layout {
    by_columns: bool,
    gap: usize,
    every: usize,
}

impl Layout {
    fn strides(self, rows: usize, columns: usize) -> (usize, usize) {
        if self.by_columns {
            (self.every, rows * self.every + self.gap)
        } else {
            (columns * self.every + self.gap, self.every)
        }
    }
}

#[derive(Debug, Clone)]
struct Case {
    shape: (usize, usize, usize),
    layouts: [Layout; 2],
    storages: [DType; 3],
    mode: Mode,
    arithmetic: Arithmetic,
    level: Simd,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Plain,
    Accumulate,
    Epilogue { bias: bool, gelu: bool, residual: bool },
}

fn layout() -> impl Strategy<Value = Layout> {
    (any::<bool>(), 0_usize..3, prop_oneof![4 => Just(1_usize), 1 => Just(2)])
        .prop_map(|(by_columns, gap, every)| Layout { by_columns, gap, every })
}

fn storage() -> impl Strategy<Value = DType> {
    prop_oneof![3 => Just(DType::F32), 1 => Just(DType::F16), 1 => Just(DType::BF16)]
}

fn case() -> impl Strategy<Value = Case> {
    let size = || prop_oneof![Just(1_usize), Just(7), Just(33), 1_usize..50, 120_usize..270];
    let depth = prop_oneof![Just(0_usize), Just(1), Just(33), 1_usize..50, 120_usize..600];
    let mode = prop_oneof![
        Just(Mode::Plain),
        Just(Mode::Accumulate),
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(bias, gelu, residual)| Mode::Epilogue {
            bias,
            gelu,
            residual
        }),
    ];
    let arithmetic = prop_oneof![Just(Arithmetic::Float32), Just(Arithmetic::BFloat16)];
    let level = proptest::sample::select(Simd::available());
    ((size(), size(), depth), [layout(), layout()], [storage(), storage(), storage()], mode, arithmetic, level)
        .prop_map(|(shape, layouts, storages, mode, arithmetic, level)| Case {
            shape,
            layouts,
            storages,
            mode,
            arithmetic,
            level,
        })
}

fn run(case: &Case) {
    let (m, n, k) = case.shape;
    let [a_strides, b_strides] = [case.layouts[0].strides(m, k), case.layouts[1].strides(k, n)];
    let len = |rows: usize, columns: usize, (row, column): (usize, usize)| {
        if rows * columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 }
    };
    let a = Stored::new(case.storages[0], &values(len(m, k, a_strides), 1));
    let b = Stored::new(case.storages[1], &values(len(k, n, b_strides), 2));
    let mut c = Stored::new(case.storages[2], &values(m * n, 3));
    let bias = Stored::new(case.storages[1], &values(n, 4));
    let residual = Stored::new(case.storages[0], &values(m * n, 5));
    let (before, a_values, b_values) = (c.values(), a.values(), b.values());
    let epilogue = match case.mode {
        Mode::Epilogue { bias: with_bias, gelu, residual: with_residual } => {
            Epilogue { bias: with_bias.then(|| bias.view()), residual: with_residual.then(|| residual.view()), gelu }
        }
        _ => Epilogue::default(),
    };
    let matrix = |data, (row_stride, column_stride)| Matrix { data, row_stride, column_stride };
    multiply(
        (case.level, case.arithmetic),
        &Pool::default(),
        GemmShape { m, n, k },
        matrix(a.view(), a_strides),
        matrix(b.view(), b_strides),
        MatrixMut { data: c.view_mut() },
        case.mode == Mode::Accumulate,
        epilogue,
    )
    .expect("fits");

    let rounding = match case.storages[2] {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => 2e-6,
    };
    // Each factor rounded to 8 bits is off by 2^-9 of it at most.
    let of_products = if case.arithmetic == Arithmetic::BFloat16 { 4e-3 } else { 2e-6 };
    let (bias, residual) = (bias.values(), residual.values());
    for (index, actual) in c.values().into_iter().enumerate() {
        let (i, j) = (index / n, index % n);
        let terms =
            |p: usize| a_values[i * a_strides.0 + p * a_strides.1] * b_values[p * b_strides.0 + j * b_strides.1];
        let mut expected: f64 = (0..k).map(terms).sum();
        let magnitude: f64 = (0..k).map(terms).map(f64::abs).sum();
        match case.mode {
            Mode::Plain => {}
            Mode::Accumulate => expected += before[index],
            Mode::Epilogue { bias: with_bias, gelu, residual: with_residual } => {
                expected += if with_bias { bias[j] } else { 0.0 };
                if gelu {
                    let z = 0.797_884_56 * (expected + 0.044_715 * expected.powi(3));
                    expected *= 0.5 * (1.0 + z.tanh());
                }
                expected += if with_residual { residual[index] } else { 0.0 };
            }
        }
        let tolerance = rounding * (1.0 + expected.abs()) + of_products * magnitude;
        assert!((actual - expected).abs() <= tolerance, "element ({i}, {j}) is {actual}, not {expected}, in {case:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn products_equal_plain_loops_in_every_layout_and_storage(case in case()) {
        run(&case);
    }
}

#[test]
fn large_products_are_cut_into_blocks_rightly() {
    let row = Layout { by_columns: false, gap: 0, every: 1 };
    let column = Layout { by_columns: true, ..row };
    for level in Simd::available() {
        for (shape, layouts) in [
            ((65, 1100, 530), [row, column]),
            ((400, 530, 400), [row, column]),
            ((200, 70, 700), [row, row]),
            ((410, 1030, 64), [column, row]),
            ((103, 520, 800), [row, row]),
        ] {
            let mode = Mode::Epilogue { bias: true, gelu: true, residual: true };
            for storages in [[DType::F32; 3], [DType::BF16, DType::F32, DType::F16]] {
                for arithmetic in [Arithmetic::Float32, Arithmetic::BFloat16] {
                    run(&Case { shape, layouts, storages, mode, arithmetic, level });
                }
            }
            for arithmetic in [Arithmetic::Float32, Arithmetic::BFloat16] {
                let mode = Mode::Accumulate;
                run(&Case { shape, layouts, storages: [DType::F32; 3], mode, arithmetic, level });
            }
        }
    }
}

#[test]
fn stacks_are_multiplied_by_their_indices() {
    let (m, n, k) = (3, 5, 4);
    let (a, b) = (values(2 * m * k, 1), values(3 * k * n, 2));
    let mut c = vec![0.0_f32; 3 * m * n];
    let (left, right) = ([1, 0, 1], [0, 2, 1]);
    let batches = Batches { left_stride: m * k, right_stride: k * n, left: &left, right: &right };
    let (a_matrix, b_matrix) = (Matrix::row_major(View::of(&a), k), Matrix::row_major(View::of(&b), n));
    let device = CpuDevice::default();
    let shape = GemmShape { m, n, k };
    device.batched_gemm(shape, batches, a_matrix, b_matrix, MatrixMut { data: ViewMut::of(&mut c) }).expect("fits");
    for (index, &actual) in c.iter().enumerate() {
        let (entry, i, j) = (index / (m * n), index / n % m, index % n);
        let (a_from, b_from) = (left[entry] as usize * m * k, right[entry] as usize * k * n);
        let expected: f32 = (0..k).map(|p| a[a_from + i * k + p] * b[b_from + p * n + j]).sum();
        assert!((actual - expected).abs() < 1e-5, "{actual}, not {expected}");
    }
    let beyond = Batches { right: &[0, 3, 1], ..batches };
    let c = MatrixMut { data: ViewMut::of(&mut c) };
    assert!(device.batched_gemm(shape, beyond, a_matrix, b_matrix, c).is_err());
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let (short, fits, integers) = ([0.0_f32; 11], [0.0_f32; 12], [0_i32; 12]);
    let product = |a: View<'_>, b: View<'_>, accumulate: bool, bias: Option<View<'_>>| {
        let mut c = [0.0_f32; 9];
        CpuDevice::default()
            .gemm(
                Arithmetic::Float32,
                GemmShape { m: 3, n: 3, k: 4 },
                Matrix::row_major(a, 4),
                Matrix::row_major(b, 3),
                MatrixMut { data: ViewMut::of(&mut c) },
                accumulate,
                Epilogue { bias, ..Epilogue::default() },
            )
            .is_ok()
    };
    let (short, fits, integers) = (View::of(&short), View::of(&fits), View::of(&integers));
    assert!(product(fits, fits, false, Some(fits)));
    assert!(!product(short, fits, false, None));
    assert!(!product(fits, short, false, None));
    assert!(!product(fits, integers, false, None));
    assert!(!product(fits, fits, true, Some(fits)));
    assert!(!product(fits, fits, false, Some(View::of(&[0.0_f32; 2]))));
}

/// `a [32, 64]` times a matrix of ones, `[64, 32]`.
fn row_sums(level: Simd, arithmetic: Arithmetic, a: &[f32]) -> Vec<f32> {
    let (ones, mut c) = (vec![1.0_f32; 64 * 32], vec![0.0_f32; 32 * 32]);
    multiply(
        (level, arithmetic),
        &Pool::default(),
        GemmShape { m: 32, n: 32, k: 64 },
        Matrix::row_major(View::of(a), 64),
        Matrix::row_major(View::of(&ones), 32),
        MatrixMut { data: ViewMut::of(&mut c) },
        false,
        Epilogue::default(),
    )
    .expect("fits");
    c
}

#[test]
fn factors_are_rounded_to_bfloat16_only_if_asked_for_and_only_where_that_is_faster() {
    // A quarter of the last place of bfloat16 above 1.
    let a = vec![1.0 + 2.0_f32.powi(-9); 32 * 64];
    for level in Simd::available() {
        let rounds = level == Simd::Amx;
        for (arithmetic, expected) in
            [(Arithmetic::Float32, 64.125), (Arithmetic::BFloat16, if rounds { 64.0 } else { 64.125 })]
        {
            let sums = row_sums(level, arithmetic, &a);
            assert!(sums.iter().all(|&sum| sum == expected), "{level:?} {arithmetic:?}: {} not {expected}", sums[0]);
        }
    }
}

#[test]
fn what_is_not_finite_stays_so_and_reaches_its_own_row_only() {
    for level in Simd::available() {
        for arithmetic in [Arithmetic::Float32, Arithmetic::BFloat16] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut a = vec![1.0_f32; 32 * 64];
                a[5 * 64 + 7] = bad;
                for (index, sum) in row_sums(level, arithmetic, &a).into_iter().enumerate() {
                    assert_eq!(sum.is_finite(), index / 32 != 5, "{level:?} {arithmetic:?} {bad}: {sum} at {index}");
                }
            }
        }
    }
}

#[test]
fn three_parts_keep_float32_from_the_smallest_to_the_largest_values() {
    for level in Simd::available() {
        for scale in [1e-28_f32, 1e-3, 1e33] {
            let a: Vec<f32> = values(32 * 64, 9).iter().map(|x| x * scale).collect();
            for (row, sums) in row_sums(level, Arithmetic::Float32, &a).chunks(32).enumerate() {
                let terms = &a[row * 64..][..64];
                let expected: f64 = terms.iter().map(|&x| f64::from(x)).sum();
                let magnitude: f64 = terms.iter().map(|&x| f64::from(x.abs())).sum();
                let error = (f64::from(sums[0]) - expected).abs();
                assert!(error <= 2e-6 * magnitude, "{level:?} {scale:e}: off by {error:e} of {magnitude:e}");
            }
        }
    }
}
