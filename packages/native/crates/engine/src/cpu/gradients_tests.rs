//! Sums, scales and norms against plain loops.

use super::*;
use crate::simd::{Simd, dispatch_at};
use crate::storage::{Float, bf16, f16};
use crate::threads::set_threads;
use proptest::prelude::*;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 10_007) as f32 / 5000.0 - 1.0).collect()
}

fn plain_norm(values: &[f32], p: f64) -> f64 {
    let magnitudes = values.iter().map(|&x| f64::from(x).abs());
    if p.is_infinite() {
        return magnitudes.fold(0.0, f64::max);
    }
    magnitudes.map(|x| x.powf(p)).sum::<f64>().powf(1.0 / p)
}

#[test]
fn sums_and_scales_do_as_plain_loops_in_every_storage() {
    fn check<T: Float>() {
        let device = CpuDevice::default();
        for count in [1, 7, 33, 1023, 40_001] {
            let from = numbers(count);
            let mut into: Vec<T> = from.iter().rev().map(|&x| T::from_f32(x)).collect();
            let expected: Vec<T> = into.iter().zip(&from).map(|(a, b)| T::from_f32(a.to_f32() + b)).collect();
            device.accumulate(ViewMut::of(&mut into), View::of(&from)).expect("a sum");
            assert!(into.iter().zip(&expected).all(|(a, b)| a.to_f32() == b.to_f32()));
            let expected: Vec<T> = into.iter().map(|x| T::from_f32(x.to_f32() * 0.3)).collect();
            device.scale_in_place(ViewMut::of(&mut into), 0.3).expect("a scale");
            assert!(into.iter().zip(&expected).all(|(a, b)| a.to_f32() == b.to_f32()));
        }
    }
    check::<f32>();
    check::<f16>();
    check::<bf16>();
}

proptest! {
    #[test]
    fn the_norm_is_that_of_one_vector(
        lengths in prop::collection::vec(0_usize..40_000, 0..4),
        p in prop_oneof![Just(1.0), Just(2.0), Just(3.0), Just(f64::INFINITY)],
    ) {
        let tensors: Vec<Vec<f32>> = lengths.iter().map(|&count| numbers(count)).collect();
        let views: Vec<View<'_>> = tensors.iter().map(|tensor| View::of(tensor)).collect();
        let (actual, expected) = (CpuDevice::default().norm(&views, p).expect("a norm"), plain_norm(&tensors.concat(), p));
        prop_assert!((actual - expected).abs() <= 1e-12 * expected, "{actual} instead of {expected}");
    }

    #[test]
    fn the_norm_is_finite_exactly_if_all_elements_are(
        count in 1_usize..40_000,
        place in any::<prop::sample::Index>(),
        wrong in prop_oneof![Just(f32::NAN), Just(-f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)],
        p in prop_oneof![Just(1.0), Just(2.0), Just(3.0), Just(f64::INFINITY)],
    ) {
        // The largest floats are still finite.
        let mut values = vec![f32::MAX; count];
        let device = CpuDevice::default();
        prop_assert!(device.norm(&[View::of(&values)], p).expect("a norm").is_finite());
        values[place.index(count)] = wrong;
        let norm = device.norm(&[View::of(&[1.0_f32]), View::of(&values), View::of(&[2.0_f32])], p).expect("a norm");
        let found = if wrong.is_nan() { norm.is_nan() } else { norm == f64::INFINITY };
        prop_assert!(found, "the norm is {}", norm);
    }

    #[test]
    fn rows_are_added_at_their_positions(
        positions in Just((0..9_i32).collect::<Vec<_>>()).prop_shuffle(),
        taken in 0_usize..=9,
        width in prop_oneof![Just(1_usize), Just(7), Just(1023)],
    ) {
        let positions = &positions[..taken];
        let rows = numbers(taken * width);
        let mut into = vec![0.5_f32; 9 * width];
        let mut expected = into.clone();
        for (i, &position) in positions.iter().enumerate() {
            for j in 0..width {
                expected[position as usize * width + j] += rows[i * width + j];
            }
        }
        CpuDevice::default().add_rows(ViewMut::of(&mut into), View::of(&rows), positions, width).expect("a sum");
        prop_assert_eq!(into, expected);
    }
}

#[test]
fn norms_have_the_same_bits_with_one_thread_and_two_and_at_every_level() {
    let values = numbers(100_003);
    let run = |threads: usize, p: f64| {
        let values = values.clone();
        std::thread::spawn(move || {
            set_threads(threads).expect("threads");
            CpuDevice::default().norm(&[View::of(&values), View::of(&values[..77])], p).expect("a norm").to_bits()
        })
        .join()
        .expect("a run")
    };
    for p in [1.0, 2.0, f64::INFINITY] {
        assert_eq!(run(1, p), run(2, p));
    }
    let sum = |level: Simd| dispatch_at(level, SumOfSquares(&values)).to_bits();
    assert!(Simd::available().into_iter().all(|level| sum(level) == sum(Simd::Portable)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = CpuDevice::default();
    assert!(device.norm(&[], 0.0).is_err_and(|error| error.to_string().contains("0-norm")));
    assert!(device.norm(&[View::of(&[1_i32])], 2.0).is_err());
    assert!(device.accumulate(ViewMut::of(&mut [0.0_f32; 2]), View::of(&[0.0_f32; 3])).is_err());
    assert!(device.add_rows(ViewMut::of(&mut [0.0_f32; 4]), View::of(&[0.0_f32; 4]), &[1, 1], 2).is_err());
}
