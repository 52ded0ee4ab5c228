//! Functions of two operands against plain loops.

use crate::cpu::CpuDevice;
use crate::cpu::testing::{STORAGES, Stored, assert_close, tolerance, values};
use crate::ops::{Binary, BinaryOp, Broadcast, CompareOp};
use crate::{DType, View, ViewMut};
use proptest::prelude::*;

/// Where in an operand of `shape` the element lies that meets element `at` of a result of `result`.
fn meets(shape: &[usize], result: &[usize], mut at: usize) -> usize {
    let (mut from, mut stride) = (0, 1);
    for i in 0..result.len() {
        let index = at % result[result.len() - 1 - i];
        at /= result[result.len() - 1 - i];
        if i < shape.len() {
            let size = shape[shape.len() - 1 - i];
            from += if size == 1 { 0 } else { index * stride };
            stride *= size;
        }
    }
    from
}

/// Two shapes that fit, and the result's.
fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<usize>)> {
    proptest::collection::vec((1..8_usize, 0..4), 0..5).prop_map(|axes| {
        let result: Vec<usize> = axes.iter().map(|(size, _)| *size).collect();
        let operand = |single: i32, missing: bool| {
            let shape = axes.iter().map(|&(size, kind)| if kind == single { 1 } else { size });
            let skipped = if missing { axes.iter().take_while(|&&(_, kind)| kind == single).count() } else { 0 };
            shape.skip(skipped).collect::<Vec<usize>>()
        };
        (operand(1, true), operand(2, false), result)
    })
}

proptest! {
    #[test]
    fn operands_meet_by_broadcasting((a_shape, b_shape, result) in shapes(), storage in 0..3_usize, out in 0..3_usize) {
        let broadcast = Broadcast::new(&a_shape, &b_shape).expect("fits");
        let size = |shape: &[usize]| shape.iter().product::<usize>();
        prop_assert_eq!(broadcast.len(), size(&result));
        let a = Stored::new(&values(size(&a_shape), 1), STORAGES[storage]);
        let b = Stored::new(&values(size(&b_shape), 2), DType::F32);
        let mut c = Stored::new(&vec![0.0; size(&result)], STORAGES[out]);
        CpuDevice::default().binary(BinaryOp::Sub, &broadcast, a.view(), b.view(), c.view_mut()).expect("fits");
        let (a, b) = (a.values(), b.values());
        let expected: Vec<_> = (0..size(&result))
            .map(|at| a[meets(&a_shape, &result, at)] - b[meets(&b_shape, &result, at)])
            .collect();
        assert_close(&c.values(), &expected, tolerance(STORAGES[out], 1e-6), "a - b");
    }
}

type Case = (BinaryOp, fn(f32, f32) -> f32);

fn of(op: BinaryOp, a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; a.len()];
    let shapes = Broadcast::new(&[a.len()], &[b.len()]).expect("fits");
    CpuDevice::default().binary(op, &shapes, View::of(a), View::of(b), ViewMut::of(&mut out)).expect("floats");
    out
}

#[test]
fn functions_of_floats_are_right_for_long_operands() {
    for len in [1, 7, 33, 1023, 100_003] {
        let (a, b) = (values(len, 3), values(len, 4));
        let table: [Case; 7] = [
            (BinaryOp::Add, |a, b| a + b),
            (BinaryOp::Mul, |a, b| a * b),
            (BinaryOp::Div, |a, b| a / b),
            (BinaryOp::Max, f32::max),
            (BinaryOp::Min, f32::min),
            (BinaryOp::SquaredDifference, |a, b| (a - b) * (a - b)),
            (BinaryOp::Pow, f32::powf),
        ];
        for (op, exact) in table {
            let positive: Vec<f32> = if op == BinaryOp::Pow { a.iter().map(|x| x.abs()).collect() } else { a.clone() };
            let expected: Vec<f32> = positive.iter().zip(&b).map(|(&a, &b)| exact(a, b)).collect();
            assert_eq!(of(op, &positive, &b), expected, "{op:?}");
        }
    }
}

#[test]
fn not_a_number_goes_through_as_in_javascript() {
    for op in [BinaryOp::Max, BinaryOp::Min, BinaryOp::Add, BinaryOp::Pow] {
        let out = of(op, &[f32::NAN, 1.0, f32::NAN], &[2.0, f32::NAN, f32::NAN]);
        assert!(out.iter().all(|x| x.is_nan()), "{op:?} {out:?}");
    }
    assert!(of(BinaryOp::Pow, &[1.0, -1.0], &[f32::INFINITY]).iter().all(|x| x.is_nan()));
    assert_eq!(of(BinaryOp::Pow, &[f32::NAN, 0.0], &[0.0]), [1.0, 1.0]);
}

#[test]
fn integers_wrap_and_have_no_quotient() {
    let (a, b) = ([i32::MAX, -7, 3], [2, 2, 2]);
    let shapes = Broadcast::new(&[3], &[3]).expect("fits");
    let mut out = [0; 3];
    let device = CpuDevice::default();
    for (op, expected) in [
        (BinaryOp::Add, [i32::MIN + 1, -5, 5]),
        (BinaryOp::Sub, [i32::MAX - 2, -9, 1]),
        (BinaryOp::Mul, [-2, -14, 6]),
        (BinaryOp::Max, [i32::MAX, 2, 3]),
        (BinaryOp::Min, [2, -7, 2]),
    ] {
        device.binary(op, &shapes, View::of(&a), View::of(&b), ViewMut::of(&mut out)).expect("integers");
        assert_eq!(out, expected, "{op:?}");
    }
    assert!(device.binary(BinaryOp::Div, &shapes, View::of(&a), View::of(&b), ViewMut::of(&mut out)).is_err());
    let floats = [0.0_f32; 3];
    assert!(device.binary(BinaryOp::Add, &shapes, View::of(&a), View::of(&floats), ViewMut::of(&mut out)).is_err());
}

#[test]
fn comparisons_take_floats_integers_and_booleans() {
    let device = CpuDevice::default();
    let shapes = Broadcast::new(&[4], &[4]).expect("fits");
    let mut out = [9_u8; 4];
    let (a, b) = ([1.0, 2.0, f32::NAN, 3.0], [2.0, 2.0, f32::NAN, 1.0]);
    let (integers, others) = ([1, 2, 5, 3], [2, 2, 6, 1]);
    for (op, of_floats, of_integers) in [
        (CompareOp::Equal, [0, 1, 0, 0], [0, 1, 0, 0]),
        (CompareOp::NotEqual, [1, 0, 1, 1], [1, 0, 1, 1]),
        (CompareOp::Less, [1, 0, 0, 0], [1, 0, 1, 0]),
        (CompareOp::LessEqual, [1, 1, 0, 0], [1, 1, 1, 0]),
        (CompareOp::Greater, [0, 0, 0, 1], [0, 0, 0, 1]),
        (CompareOp::GreaterEqual, [0, 1, 0, 1], [0, 1, 0, 1]),
    ] {
        device.compare(op, &shapes, View::of(&a), View::of(&b), ViewMut::of(&mut out)).expect("floats");
        assert_eq!(out, of_floats, "{op:?}");
        device.compare(op, &shapes, View::of(&integers), View::of(&others), ViewMut::of(&mut out)).expect("integers");
        assert_eq!(out, of_integers, "{op:?}");
    }
    let (a, b) = ([0_u8, 0, 1, 1], [0_u8, 1, 0, 1]);
    for (op, expected) in [
        (CompareOp::And, [0, 0, 0, 1]),
        (CompareOp::Or, [0, 1, 1, 1]),
        (CompareOp::Xor, [0, 1, 1, 0]),
        (CompareOp::Less, [0, 1, 0, 0]),
    ] {
        device.compare(op, &shapes, View::of(&a), View::of(&b), ViewMut::of(&mut out)).expect("booleans");
        assert_eq!(out, expected, "{op:?}");
    }
}

#[test]
fn select_takes_either_side_of_any_storage() {
    for len in [1, 33, 70_001] {
        let condition: Vec<u8> = (0..len).map(|i| u8::from(i % 3 == 0)).collect();
        for storage in STORAGES {
            let (a, b) = (Stored::new(&values(len, 5), storage), Stored::new(&values(len, 6), DType::F32));
            let mut out = Stored::new(&vec![0.0; len], storage);
            CpuDevice::default().select(View::of(&condition), a.view(), b.view(), out.view_mut()).expect("as many");
            let (a, b) = (a.values(), b.values());
            let expected: Vec<_> = (0..len).map(|i| if i % 3 == 0 { a[i] } else { b[i] }).collect();
            assert_close(&out.values(), &expected, tolerance(storage, 0.0), "select");
        }
    }
}
