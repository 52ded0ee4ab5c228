//! Kernels that move elements against plain loops.

use crate::cpu::CpuDevice;
use crate::ops::{GatherShape, Movement, Region, Strided};
use crate::{View, ViewMut, f16};
use proptest::prelude::*;

fn copied(x: &[i32], from: Strided<'_>) -> Vec<i32> {
    let mut out = vec![-1; from.shape.iter().product()];
    let begin = vec![0; from.shape.len()];
    CpuDevice::default()
        .copy(View::of(x), from, ViewMut::of(&mut out), Region { shape: from.shape, begin: &begin })
        .expect("fits");
    out
}

/// Elements in the order of their places, each read where strides say.
fn expected(x: &[i32], from: Strided<'_>) -> Vec<i32> {
    let size: usize = from.shape.iter().product();
    (0..size)
        .map(|mut at| {
            let mut place = from.offset as isize;
            for (&len, &stride) in from.shape.iter().zip(from.strides).rev() {
                place += (at % len) as isize * stride;
                at /= len;
            }
            x[place as usize]
        })
        .collect()
}

fn natural(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i] as isize;
    }
    strides
}

/// Shapes, with an order of their axes.
fn permuted() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    (1..5_usize).prop_flat_map(|rank| {
        (proptest::collection::vec(1..20_usize, rank), Just((0..rank).collect::<Vec<_>>()).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn axes_are_put_in_any_order((shape, order) in permuted()) {
        let x: Vec<i32> = (0..shape.iter().product::<usize>() as i32).collect();
        let strides = natural(&shape);
        let (to, steps): (Vec<_>, Vec<_>) = order.iter().map(|&axis| (shape[axis], strides[axis])).unzip();
        let from = Strided { shape: &to, offset: 0, strides: &steps };
        prop_assert_eq!(copied(&x, from), expected(&x, from));
    }

    #[test]
    fn elements_are_sliced_skipped_reversed_and_repeated(
        axes in proptest::collection::vec((1..9_usize, 0..4), 1..5),
    ) {
        let shape: Vec<usize> = axes.iter().map(|(len, _)| *len).collect();
        let x: Vec<i32> = (0..shape.iter().product::<usize>() as i32).collect();
        let (mut to, mut steps, mut offset) = (Vec::new(), Vec::new(), 0);
        for (&(len, how), stride) in axes.iter().zip(natural(&shape)) {
            let (count, step, start) = match how {
                0 => (len, stride, 0),
                1 => (len.div_ceil(2), 2 * stride, 0),
                2 => (len, -stride, (len - 1) as isize * stride),
                _ => (len - len / 2, stride, (len / 2) as isize * stride),
            };
            to.extend([2, count]);
            steps.extend([0, step]);
            offset += start as usize;
        }
        let from = Strided { shape: &to, offset, strides: &steps };
        prop_assert_eq!(copied(&x, from), expected(&x, from));
    }

    #[test]
    fn a_box_is_written_within_a_larger_result(
        axes in proptest::collection::vec((1..6_usize, 0..3_usize, 0..3_usize), 1..4),
    ) {
        let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let begin: Vec<usize> = axes.iter().map(|axis| axis.1).collect();
        let whole: Vec<usize> = axes.iter().map(|(len, before, after)| before + len + after).collect();
        let x: Vec<i32> = (0..shape.iter().product::<usize>() as i32).collect();
        let mut out = vec![-1; whole.iter().product()];
        let from = Strided { shape: &shape, offset: 0, strides: &natural(&shape) };
        CpuDevice::default()
            .copy(View::of(&x), from, ViewMut::of(&mut out), Region { shape: &whole, begin: &begin })
            .expect("fits");
        let start: isize = begin.iter().zip(natural(&whole)).map(|(&begin, stride)| begin as isize * stride).sum();
        let read_back = Strided { shape: &shape, offset: start as usize, strides: &natural(&whole) };
        prop_assert_eq!(expected(&out, read_back), x);
        prop_assert_eq!(out.iter().filter(|&&x| x == -1).count(), out.len() - shape.iter().product::<usize>());
    }
}

#[test]
fn large_transposes_are_right_for_every_size_of_elements() {
    let (rows, columns) = (403, 517);
    let halves: Vec<f16> = (0..rows * columns).map(|i| f16::from_bits((i % 30_000) as u16)).collect();
    let bytes: Vec<u8> = (0..rows * columns).map(|i| i as u8).collect();
    let shape = [columns, rows];
    let from = Strided { shape: &shape, offset: 0, strides: &[1, columns as isize] };
    let to = Region { shape: &shape, begin: &[0, 0] };
    let (mut half_out, mut byte_out) = (vec![f16::ZERO; halves.len()], vec![0_u8; bytes.len()]);
    let device = CpuDevice::default();
    device.copy(View::of(&halves), from, ViewMut::of(&mut half_out), to).expect("fits");
    device.copy(View::of(&bytes), from, ViewMut::of(&mut byte_out), to).expect("fits");
    for column in 0..columns {
        for row in 0..rows {
            assert_eq!(half_out[column * rows + row], halves[row * columns + column]);
            assert_eq!(byte_out[column * rows + row], bytes[row * columns + column]);
        }
    }
}

#[test]
fn places_outside_of_either_side_are_refused() {
    let x = [1, 2, 3, 4];
    let mut out = [0; 4];
    let device = CpuDevice::default();
    let mut copy = |shape: &[usize], offset, strides: &[isize], whole: &[usize], begin: &[usize]| {
        let from = Strided { shape, offset, strides };
        device.copy(View::of(&x), from, ViewMut::of(&mut out), Region { shape: whole, begin })
    };
    assert!(copy(&[4], 0, &[1], &[4], &[0]).is_ok());
    assert!(copy(&[4], 1, &[1], &[4], &[0]).is_err(), "beyond the operand");
    assert!(copy(&[4], 2, &[-1], &[4], &[0]).is_err(), "before the operand");
    assert!(copy(&[3], 0, &[1], &[4], &[2]).is_err(), "beyond the result");
    assert!(copy(&[4], 0, &[1], &[5], &[0]).is_err(), "the result has other lengths");
    assert!(copy(&[0], 9, &[1], &[4], &[0]).is_ok(), "nothing is nowhere");
}

#[test]
fn rows_are_joined() {
    let (a, b) = ([1, 2, 3, 4], [5, 6]);
    let mut out = [0; 6];
    let device = CpuDevice::default();
    device.join(2, &[View::of(&a), View::of(&b)], ViewMut::of(&mut out)).expect("fits");
    assert_eq!(out, [1, 2, 5, 3, 4, 6]);
    assert!(device.join(4, &[View::of(&a), View::of(&b)], ViewMut::of(&mut out)).is_err());
    assert!(device.join(2, &[View::of(&a)], ViewMut::of(&mut out)).is_err());
}

#[test]
fn slices_are_gathered_and_indices_checked() {
    let shape = GatherShape { batches: 2, outer: 3, axis: 5, inner: 7, count: 4 };
    let x: Vec<i32> = (0..2 * 3 * 5 * 7).collect();
    let mut indices = [4, 0, 0, 2, 1, 3, 4, 4];
    let mut out = vec![0; 2 * 3 * 4 * 7];
    let device = CpuDevice::default();
    device.gather(shape, View::of(&x), View::of(&indices), ViewMut::of(&mut out)).expect("fits");
    for (at, &value) in out.iter().enumerate() {
        let (i, place, group) = (at % 7, at / 7 % 4, at / 28);
        let index = indices[group / 3 * 4 + place] as usize;
        assert_eq!(value, x[(group * 5 + index) * 7 + i]);
    }
    for wrong in [-1, 5] {
        indices[3] = wrong;
        let error = device.gather(shape, View::of(&x), View::of(&indices), ViewMut::of(&mut out)).expect_err("no such");
        assert!(error.to_string().contains(&format!("index value {wrong} is not in [0, 4]")), "{error}");
    }
}
