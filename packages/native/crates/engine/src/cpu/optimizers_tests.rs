//! Steps against plain loops in float64, at odd sizes, in every storage, at every level of instructions.

use super::*;
use crate::simd::{Simd, dispatch_at};
use crate::storage::{Float, bf16, f16};
use crate::threads::set_threads;

const SIZES: [usize; 6] = [1, 7, 33, 1023, 16_384, 40_001];

const ADAM: AdamFactors = AdamFactors {
    gradient_scale: 0.5,
    coupled_decay: 0.02,
    first_share: 0.1,
    second_kept: 0.99,
    second_share: 0.01,
    value_kept: 0.999,
    rate: 0.01,
    epsilon: 1e-6,
};

/// Numbers of several magnitudes and both signs, the same for the same seed.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn squares(count: usize, seed: u32) -> Vec<f32> {
    numbers(count, seed).into_iter().map(|x| x * x).collect()
}

struct State {
    value: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl State {
    fn new(count: usize) -> Self {
        Self {
            value: numbers(count, 1),
            gradient: numbers(count, 2),
            first: numbers(count, 3),
            second: squares(count, 4),
        }
    }

    fn expected(&self, f: AdamFactors) -> [Vec<f64>; 3] {
        let mut all = [Vec::new(), Vec::new(), Vec::new()];
        for i in 0..self.value.len() {
            let [w, m, v] = [self.value[i], self.first[i], self.second[i]].map(f64::from);
            let g = f64::from(self.gradient[i]) * f64::from(f.gradient_scale) + f64::from(f.coupled_decay) * w;
            let m = m + (g - m) * f64::from(f.first_share);
            let v = v * f64::from(f.second_kept) + g * g * f64::from(f.second_share);
            let w = w * f64::from(f.value_kept) - m / (v.sqrt() + f64::from(f.epsilon)) * f64::from(f.rate);
            [w, m, v].into_iter().zip(&mut all).for_each(|(number, list)| list.push(number));
        }
        all
    }
}

fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (i, (&a, &b)) in actual.iter().zip(expected).enumerate() {
        assert!((f64::from(a) - b).abs() <= tolerance * b.abs().max(1.0), "element {i}: {a} instead of {b}");
    }
}

#[test]
fn adam_does_as_its_formula_at_odd_sizes() {
    for count in SIZES {
        let mut state = State::new(count);
        let [value, first, second] = state.expected(ADAM);
        CpuDevice::default()
            .adam_step(
                ViewMut::of(&mut state.value),
                View::of(&state.gradient),
                ViewMut::of(&mut state.first),
                ViewMut::of(&mut state.second),
                ADAM,
            )
            .expect("a step");
        assert_close(&state.value, &value, 1e-6);
        assert_close(&state.first, &first, 1e-6);
        assert_close(&state.second, &second, 1e-6);
    }
}

#[test]
fn adam_gives_the_same_bits_at_every_level_of_instructions() {
    let run = |level: Simd| {
        let mut state = State::new(1023);
        let State { value, gradient, first, second } = &mut state;
        dispatch_at(level, Adam { value, gradient, exp_avg: first, exp_avg_sq: second, factors: ADAM });
        [state.value, state.first, state.second].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let levels = Simd::available();
    assert!(levels.iter().all(|&level| run(level) == run(Simd::Portable)));
}

#[test]
fn adam_gives_the_same_bits_with_one_thread_and_two() {
    let run = |threads: usize| {
        std::thread::spawn(move || {
            set_threads(threads).expect("threads");
            let mut state = State::new(100_003);
            CpuDevice::default()
                .adam_step(
                    ViewMut::of(&mut state.value),
                    View::of(&state.gradient),
                    ViewMut::of(&mut state.first),
                    ViewMut::of(&mut state.second),
                    ADAM,
                )
                .expect("a step");
            [state.value, state.first, state.second].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        })
        .join()
        .expect("a run")
    };
    assert!(run(1) == run(2));
}

fn adam_on_halves<T: Float>(tolerance: f64) {
    let mut state = State::new(40_001);
    let as_halves = |values: &[f32]| values.iter().map(|&x| T::from_f32(x)).collect::<Vec<T>>();
    let mut halves = as_halves(&state.value);
    let gradient = as_halves(&state.gradient);
    state.value = halves.iter().map(|x| x.to_f32()).collect();
    state.gradient = gradient.iter().map(|x| x.to_f32()).collect();
    let [value, first, _] = state.expected(ADAM);
    CpuDevice::default()
        .adam_step(
            ViewMut::of(&mut halves),
            View::of(&gradient),
            ViewMut::of(&mut state.first),
            ViewMut::of(&mut state.second),
            ADAM,
        )
        .expect("a step");
    assert_close(&state.first, &first, 1e-6);
    assert_close(&halves.iter().map(|x| x.to_f32()).collect::<Vec<_>>(), &value, tolerance);
}

#[test]
fn adam_updates_values_that_are_stored_as_halves() {
    adam_on_halves::<f16>(6e-4);
    adam_on_halves::<bf16>(5e-3);
}

#[test]
fn gradient_descent_does_as_its_formula_with_every_option() {
    for nesterov in [false, true] {
        for with_momentum in [false, true] {
            for count in SIZES {
                let f = SgdFactors {
                    gradient_scale: 0.5,
                    weight_decay: 0.1,
                    momentum: 0.9,
                    gradient_share: 0.7,
                    rate: 0.1,
                    nesterov,
                };
                let State { mut value, gradient, first: mut buffer, .. } = State::new(count);
                let mut expected = [Vec::new(), Vec::new()];
                for i in 0..count {
                    let [w, b] = [value[i], buffer[i]].map(f64::from);
                    let g = f64::from(gradient[i]) * 0.5 + f64::from(f.weight_decay) * w;
                    let b = f64::from(f.momentum) * b + f64::from(f.gradient_share) * g;
                    let moved = match (with_momentum, nesterov) {
                        (false, _) => g,
                        (true, false) => b,
                        (true, true) => g + f64::from(f.momentum) * b,
                    };
                    expected[0].push(w - f64::from(f.rate) * moved);
                    expected[1].push(if with_momentum { b } else { f64::from(buffer[i]) });
                }
                let momentum = with_momentum.then(|| ViewMut::of(&mut buffer));
                CpuDevice::default()
                    .sgd_step(ViewMut::of(&mut value), View::of(&gradient), momentum, f)
                    .expect("a step");
                assert_close(&value, &expected[0], 1e-6);
                assert_close(&buffer, &expected[1], 1e-6);
            }
        }
    }
}

#[test]
fn operands_of_another_length_or_type_are_refused() {
    let device = CpuDevice::default();
    let (mut value, mut first, mut second) = (vec![0.0_f32; 3], vec![0.0_f32; 3], vec![0.0_f32; 2]);
    let gradient = [0.0_f32; 3];
    let error = device
        .adam_step(
            ViewMut::of(&mut value),
            View::of(&gradient),
            ViewMut::of(&mut first),
            ViewMut::of(&mut second),
            ADAM,
        )
        .expect_err("too short");
    assert_eq!(error.to_string(), "The second moment has 2 elements; expected 3.");
    let sgd = SgdFactors {
        gradient_scale: 1.0,
        weight_decay: 0.0,
        momentum: 0.0,
        gradient_share: 1.0,
        rate: 1.0,
        nesterov: false,
    };
    let error = device.sgd_step(ViewMut::of(&mut value), View::of(&[1_i32; 3]), None, sgd).expect_err("integers");
    assert!(error.to_string().contains("I32"), "{error}");
}
