//! Reductions against plain loops in double precision.

use crate::cpu::CpuDevice;
use crate::cpu::testing::{STORAGES, Stored, assert_close, values};
use crate::ops::{Cumulation, Reduce, ReduceShape, Reduction};
use crate::simd::testing::at_each_level;
use crate::{View, ViewMut};

const ALL: [Reduction; 4] = [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Product];
const SHAPES: [(usize, usize, usize); 9] =
    [(1, 1, 1), (5, 7, 1), (3, 1023, 1), (1, 40_001, 1), (1, 33, 7), (1, 131, 300), (2, 70, 129), (7, 3, 5), (0, 3, 2)];

fn combine(reduction: Reduction, a: f64, b: f64) -> f64 {
    match reduction {
        Reduction::Sum => a + b,
        Reduction::Max => a.max(b),
        Reduction::Min => a.min(b),
        Reduction::Product => a * b,
    }
}

/// The reduction of the middle axis by definition.
fn expected(reduction: Reduction, (outer, reduced, inner): (usize, usize, usize), x: &[f64]) -> Vec<f64> {
    let at = |o: usize, r: usize, i: usize| x[(o * reduced + r) * inner + i];
    let one = |o, i| (1..reduced).fold(at(o, 0, i), |sum, r| combine(reduction, sum, at(o, r, i)));
    (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))).map(|(o, i)| one(o, i)).collect()
}

fn shape((outer, reduced, inner): (usize, usize, usize)) -> ReduceShape {
    ReduceShape { outer, reduced, inner }
}

#[test]
fn floats_of_every_storage_are_reduced_along_any_axis_at_every_level() {
    at_each_level(|_| {
        for dtype in STORAGES {
            for (reduction, size) in ALL.into_iter().flat_map(|reduction| SHAPES.map(|size| (reduction, size))) {
                // Near 1, so that products stay finite.
                let near_one = |x: f32| 1.0 + x / 1000.0;
                let x: Vec<f32> = values(size.0 * size.1 * size.2, 4).into_iter().map(near_one).collect();
                let x = Stored::new(&x, dtype);
                let mut y = vec![f32::NAN; size.0 * size.2];
                CpuDevice::default()
                    .reduce(reduction, shape(size), 0.5, x.view(), ViewMut::of(&mut y))
                    .expect("operands fit");
                let y: Vec<f64> = y.iter().map(|&y| f64::from(y)).collect();
                let expected: Vec<f64> = expected(reduction, size, &x.values()).iter().map(|y| y * 0.5).collect();
                let bound = if reduction == Reduction::Product { 2e-5 } else { 1e-6 };
                assert_close(&y, &expected, bound, &format!("{reduction:?} of {size:?}, {dtype:?}"));
            }
        }
    });
}

#[test]
fn integers_are_reduced_to_integers_and_booleans_to_either() {
    for (reduction, size) in ALL.into_iter().flat_map(|reduction| SHAPES.map(|size| (reduction, size))) {
        let x: Vec<i32> =
            values(size.0 * size.1 * size.2, 4).into_iter().map(|x| if x > 1.5 { 2 } else { -1 }).collect();
        let mut y = vec![99i32; size.0 * size.2];
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let reduced = CpuDevice::default().reduce(reduction, shape(size), 1.0, View::of(&x), ViewMut::of(&mut y));
        reduced.expect("operands fit");
        if reduction != Reduction::Product || size.1 < 100 {
            let expected: Vec<i32> = expected(reduction, size, &wide).iter().map(|&y| y as i32).collect();
            assert_eq!(y, expected, "{reduction:?} of {size:?}");
        }
        let booleans: Vec<u8> = x.iter().map(|&x| u8::from(x == 2)).collect();
        let wide: Vec<f64> = booleans.iter().map(|&x| f64::from(x)).collect();
        let mut any = vec![7u8; y.len()];
        let reduced =
            CpuDevice::default().reduce(reduction, shape(size), 1.0, View::of(&booleans), ViewMut::of(&mut any));
        reduced.expect("operands fit");
        let expected: Vec<u8> = expected(reduction, size, &wide).iter().map(|&y| u8::from(y != 0.0)).collect();
        assert_eq!(any, expected, "{reduction:?} of {size:?}");
    }
}

#[test]
fn nan_is_kept_and_infinities_are_extremes() {
    for (reduction, inner) in ALL.into_iter().flat_map(|reduction| [1, 2].map(|inner| (reduction, inner))) {
        let mut x = values(200 * inner, 1);
        x[100 * inner] = f32::NAN;
        let mut y = vec![0.0f32; inner];
        let size = ReduceShape { outer: 1, reduced: 200, inner };
        CpuDevice::default().reduce(reduction, size, 1.0, View::of(&x), ViewMut::of(&mut y)).expect("operands fit");
        assert_eq!(y.iter().map(|y| y.is_nan()).collect::<Vec<_>>(), [true, false][..inner], "{reduction:?}");
    }
    let size = ReduceShape { outer: 1, reduced: 2, inner: 1 };
    let mut y = [0.0f32];
    CpuDevice::default()
        .reduce(Reduction::Max, size, 1.0, View::of(&[f32::NEG_INFINITY; 2]), ViewMut::of(&mut y))
        .expect("operands fit");
    assert_eq!(y, [f32::NEG_INFINITY]);
}

#[test]
fn a_long_sum_loses_little() {
    let x = vec![0.1f32; 10_000_000];
    let mut y = [0.0f32];
    let size = ReduceShape { outer: 1, reduced: x.len(), inner: 1 };
    CpuDevice::default().reduce(Reduction::Sum, size, 1.0, View::of(&x), ViewMut::of(&mut y)).expect("operands fit");
    let exact = f64::from(0.1f32) * 1e7;
    assert!((f64::from(y[0]) - exact).abs() / exact < 2e-6, "{}", y[0]);
}

#[test]
fn the_extremes_index_is_the_first_of_equals_and_passes_over_nan() {
    let arg = |largest, x: &[f32]| {
        let mut index = [-1i32];
        CpuDevice::default().arg_reduce(largest, x.len(), View::of(x), ViewMut::of(&mut index)).expect("operands fit");
        index[0]
    };
    at_each_level(|_| {
        let mut x = values(1023, 8);
        (x[77], x[900], x[50]) = (9.0, 9.0, f32::NAN);
        assert_eq!(arg(true, &x), 77);
        (x[88], x[89]) = (-9.0, -9.0);
        assert_eq!(arg(false, &x), 88);
        assert_eq!(arg(true, &[f32::NAN, 5.0]), 0);
        assert_eq!(arg(true, &[0.0, -0.0]), 0);
        assert_eq!(arg(true, &[f32::NEG_INFINITY; 40]), 0);
    });
    let mut index = [-1i32; 2];
    CpuDevice::default()
        .arg_reduce(false, 3, View::of(&[3, 1, 1, 0, 5, 6]), ViewMut::of(&mut index))
        .expect("operands fit");
    assert_eq!(index, [1, 0]);
}

#[test]
fn cumulative_sums_run_either_way_with_or_without_the_own_element() {
    for (exclusive, reverse, expected) in [
        (false, false, [1, 3, 6, 4, 9, 15]),
        (true, false, [0, 1, 3, 0, 4, 9]),
        (false, true, [6, 5, 3, 15, 11, 6]),
        (true, true, [5, 3, 0, 11, 6, 0]),
    ] {
        let cumulation = Cumulation { exclusive, reverse };
        let mut y = [0i32; 6];
        let device = CpuDevice::default();
        device.cumulative_sum(3, cumulation, View::of(&[1, 2, 3, 4, 5, 6]), ViewMut::of(&mut y)).expect("operands fit");
        assert_eq!(y, expected);
        for dtype in STORAGES {
            let x = Stored::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype);
            let mut y = [0.0f32; 6];
            device.cumulative_sum(3, cumulation, x.view(), ViewMut::of(&mut y)).expect("operands fit");
            assert_eq!(y, expected.map(|y| y as f32));
        }
    }
    let mut y = [0i32; 3];
    CpuDevice::default()
        .cumulative_sum(3, Cumulation::default(), View::of(&[1u8, 0, 1]), ViewMut::of(&mut y))
        .expect("operands fit");
    assert_eq!(y, [1, 1, 2]);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let device = CpuDevice::default();
    let size = ReduceShape { outer: 1, reduced: 2, inner: 2 };
    let x = [1.0f32; 4];
    assert!(device.reduce(Reduction::Sum, size, 1.0, View::of(&x), ViewMut::of(&mut [0.0f32])).is_err());
    assert!(device.reduce(Reduction::Sum, size, 1.0, View::of(&x), ViewMut::of(&mut [0i32; 2])).is_err());
    assert!(device.arg_reduce(true, 3, View::of(&x), ViewMut::of(&mut [0i32])).is_err());
}
