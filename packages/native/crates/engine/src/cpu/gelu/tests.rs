//! The activation against its formula in double precision.

use crate::cpu::CpuDevice;
use crate::cpu::testing::{STORAGES, Stored, assert_close, tolerance, values};
use crate::ops::Gelu;
use crate::simd::testing::at_each_level;
use crate::{DType, View, ViewMut};

fn exact(x: f64) -> (f64, f64) {
    let (slope, cubic) = (0.797_884_56, 0.044_715);
    let t = (slope * (x + cubic * x * x * x)).tanh();
    let value = 0.5 * x * (1.0 + t);
    (value, 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope * (1.0 + 3.0 * cubic * x * x))
}

fn check(len: usize, dtype: DType) {
    let mut x = values(len, len as u32);
    for (x, far) in x.iter_mut().zip([0.0, -3.0, 5.0, -12.0, 30.0, -80.0, 60_000.0, -60_000.0]) {
        *x = far;
    }
    let (x, dy) = (Stored::new(&x, dtype), Stored::new(&values(len, 5), dtype));
    let mut output = Stored::new(&vec![f32::NAN; len], dtype);
    let mut dx = Stored::new(&vec![f32::NAN; len], dtype);
    CpuDevice::default().gelu(x.view(), output.view_mut()).expect("lengths fit");
    CpuDevice::default().gelu_grad(dy.view(), x.view(), dx.view_mut()).expect("lengths fit");
    let bound = tolerance(dtype, 1e-6);
    for i in 0..len {
        let (value, slope) = exact(x.values()[i]);
        let expected = [value, dy.values()[i] * slope];
        assert_close(&[output.values()[i], dx.values()[i]], &expected, bound, &format!("{i} of {len}, {dtype:?}"));
    }
}

#[test]
fn is_blooms_formula_with_its_gradient_at_every_level_in_every_storage() {
    at_each_level(|_| {
        for dtype in STORAGES {
            [0, 1, 7, 33, 1023].into_iter().for_each(|len| check(len, dtype));
        }
    });
}

#[test]
fn spans_several_pieces() {
    let x = values(40_001, 9);
    let mut output = vec![f32::NAN; x.len()];
    CpuDevice::default().gelu(View::of(&x), ViewMut::of(&mut output)).expect("lengths fit");
    let expected: Vec<f64> = x.iter().map(|&x| exact(f64::from(x)).0).collect();
    assert_close(&output.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), &expected, 1e-6, "gelu");
}

#[test]
fn huge_and_infinite_values_give_no_nan_where_the_limit_is_finite() {
    let x = [f32::MAX, f32::MIN, 1e20, f32::INFINITY];
    let (mut y, mut dx) = ([0.0f32; 4], [0.0f32; 4]);
    CpuDevice::default().gelu(View::of(&x), ViewMut::of(&mut y)).expect("lengths fit");
    CpuDevice::default().gelu_grad(View::of(&[1.0f32; 4]), View::of(&x), ViewMut::of(&mut dx)).expect("lengths fit");
    assert_eq!(y, [f32::MAX, 0.0, 1e20, f32::INFINITY]);
    assert_eq!(dx, [1.0, 0.0, 1.0, 1.0]);
}

#[test]
fn both_at_once_are_what_they_are_one_by_one() {
    for dtype in STORAGES {
        for len in [1, 33, 20_001] {
            let (x, dy) = (Stored::new(&values(len, 3), dtype), Stored::new(&values(len, 4), DType::F32));
            let mut expected = [(); 2].map(|()| Stored::new(&vec![f32::NAN; len], dtype));
            let [output, dx] = &mut expected;
            CpuDevice::default().gelu(x.view(), output.view_mut()).expect("lengths fit");
            CpuDevice::default().gelu_grad(dy.view(), x.view(), dx.view_mut()).expect("lengths fit");
            let (mut gradient, mut again) =
                (Stored::new(&values(len, 4), DType::F32), Stored::new(&vec![0.0; len], dtype));
            CpuDevice::default().gelu_again(x.view(), gradient.view_mut(), again.view_mut()).expect("lengths fit");
            assert_eq!(again.values(), expected[0].values());
            assert_close(&gradient.values(), &expected[1].values(), tolerance(dtype, 0.0), "gradient");
        }
    }
}
