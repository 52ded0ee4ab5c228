//! A block against its definition in double precision, and against itself run otherwise.

mod operands;
mod reference;

use super::{BlockInput, BlockSpec, Keep, Slab, Workspace, bucket, forward, kept_bytes};
use crate::cpu::CpuDevice;
use crate::cpu::testing::{assert_close, values};
use crate::simd::testing::at_each_level;
use crate::{DType, Device, EngineError, View, ViewMut};
use operands::{Case, Operands, PARAMETERS, SMALL};
use proptest::prelude::*;
use reference::Reference;

/// The result, and along random directions the slope of `sum(output * output_gradient)`, against the definition's.
fn check(case: Case, tolerance: f64) {
    let operands = Operands::of(case);
    let run = operands.run(true, 1, |_| true);
    let mut reference = operands.reference();
    let x = operands.hidden.values();
    assert_close(&run.output, &reference.forward(&x), tolerance, &format!("output of {case:?}"));
    let objective = |reference: &Reference, x: &[f64]| -> f64 {
        reference.forward(x).iter().zip(&operands.output_gradient).map(|(y, &dy)| y * f64::from(dy)).sum()
    };
    let along = |gradient: &[f32], direction: &[f64]| -> (f64, f64) {
        let products = || gradient.iter().zip(direction).map(|(&g, d)| f64::from(g) * d);
        (products().sum(), products().map(f64::abs).sum())
    };
    let step = 1e-5;
    for which in 0..=PARAMETERS {
        let start = if which < PARAMETERS { reference.parameters[which].clone() } else { x.clone() };
        let direction: Vec<f64> = values(start.len(), 90 + which as u32).iter().map(|&d| f64::from(d)).collect();
        let mut at = |sign: f64| {
            let moved: Vec<f64> = start.iter().zip(&direction).map(|(p, d)| p + sign * step * d).collect();
            if which == PARAMETERS {
                return objective(&reference, &moved);
            }
            reference.parameters[which] = moved;
            objective(&reference, &x)
        };
        let expected = (at(1.0) - at(-1.0)) / (2.0 * step);
        if which < PARAMETERS {
            reference.parameters[which] = start;
        }
        let gradient = if which < PARAMETERS { &run.gradients[which] } else { &run.hidden_gradient };
        let (actual, scale) = along(gradient, &direction);
        let bound = tolerance * scale.max(1.0) + 1e-6;
        assert!((actual - expected).abs() <= bound, "slope {actual} along {which} of {case:?}; expected {expected}");
    }
}

#[test]
fn is_its_definition_with_its_gradients_at_every_level() {
    at_each_level(|_| {
        for case in [
            SMALL,
            Case { padding: -3, after_norm: true, ..SMALL },
            Case { seq: 1, batch: 1, padding: 0, ..SMALL },
            Case { padding: 7, ..SMALL },
        ] {
            check(case, 2e-5);
        }
    });
}

#[test]
fn is_so_within_rounding_where_activations_are_halves() {
    for after_norm in [false, true] {
        check(Case { storage: DType::F16, after_norm, ..SMALL }, 5e-3);
        check(Case { storage: DType::BF16, after_norm, ..SMALL }, 4e-2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn is_so_for_any_shape(
        batch in 1usize..4, seq in 1usize..34, heads in 1usize..5, dim in 1usize..9, after_norm: bool, padding in -3i32..4,
    ) {
        let case = Case { batch, seq, heads, dim: dim + 1, after_norm, padding, ..SMALL };
        check(case, 5e-5);
    }
}

#[test]
fn without_what_was_kept_it_gives_the_same_bits() {
    for storage in [DType::F32, DType::BF16] {
        for dropping in [0.0, 0.3] {
            let operands = Operands::of(Case { storage, dropping, ..SMALL });
            assert_eq!(operands.run(true, 1, |_| true), operands.run(false, 1, |_| true));
        }
    }
}

#[test]
fn gradients_add_up_where_they_are() {
    let operands = Operands::of(Case { dropping: 0.2, ..SMALL });
    let (once, twice) = (operands.run(true, 1, |_| true), operands.run(true, 2, |_| true));
    assert_eq!(twice.hidden_gradient, once.hidden_gradient);
    for (twice, once) in twice.gradients.iter().zip(&once.gradients) {
        let doubled: Vec<f64> = once.iter().map(|&g| f64::from(2.0 * g)).collect();
        assert_close(&twice.iter().map(|&g| f64::from(g)).collect::<Vec<_>>(), &doubled, 1e-6, "twice");
    }
}

#[test]
fn what_is_not_wanted_is_not_written_and_the_rest_is_the_same() {
    let operands = Operands::of(SMALL);
    let all = operands.run(true, 1, |_| true);
    for modulus in [2, 3, PARAMETERS + 1] {
        let some = operands.run(true, 1, |i| i % modulus == 1);
        assert_eq!(some.hidden_gradient, all.hidden_gradient);
        for (i, gradient) in some.gradients.iter().enumerate() {
            if i % modulus == 1 {
                assert_eq!(gradient, &all.gradients[i]);
            } else {
                assert!(gradient.iter().all(|g| g.is_nan()), "{i}");
            }
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let operands = Operands::of(SMALL);
    let device = CpuDevice::default();
    let mut output = vec![0.0f32; operands.hidden.view().len()];
    let mut refused = |input: BlockInput<'_>, spec: BlockSpec<'_>| {
        let weights = operands.weights();
        let to = ViewMut::of(&mut output);
        forward(&device, &mut Workspace::default(), &spec, &weights, &input, Keep::Not, to)
            .expect_err("refused")
            .to_string()
    };
    let (input, spec) = (operands.input(), operands.spec());
    assert!(refused(BlockInput { seq: 8, ..input }, spec).contains("hidden has 168 elements; expected 192"));
    assert!(refused(BlockInput { mask: View::of(&[1, 1]), ..input }, spec).contains("mask has 2"));
    assert!(refused(input, BlockSpec { slopes: &[0.5; 5], ..spec }).contains("5 heads do not divide"));
    assert!(refused(input, BlockSpec { storage: DType::I32, ..spec }).contains("stores no activations"));
}

#[test]
fn buckets_are_few_and_at_most_an_eighth_larger() {
    for tokens in 1..5000 {
        let planned = bucket(tokens);
        assert!(planned >= tokens && planned <= (tokens + tokens / 8).max(tokens + 7), "{tokens}: {planned}");
        assert_eq!(bucket(planned), planned);
    }
    let sizes: std::collections::BTreeSet<usize> = (513..=1024).map(bucket).collect();
    assert!(sizes.len() <= 8, "{sizes:?}");
}

#[test]
fn plans_that_no_memory_can_hold_are_refused() {
    const HALF: usize = usize::MAX / 2;
    for (tokens, width, inner, heads) in [
        (HALF, 1, 1, 1),
        (usize::MAX, 1, 1, 1),
        (1 << 32, 1 << 31, 1, 1),
        (8, HALF, 1, 1),
        (8, 1, HALF, 1),
        (8, 1, 1, HALF),
        (1 << 31, 1 << 30, 1, 1),
    ] {
        let refused = kept_bytes(tokens, width, inner, heads, DType::F32);
        assert_eq!(refused, Err(EngineError::OutOfMemory(usize::MAX)), "{tokens} {width} {inner} {heads}");
    }
    assert!(Slab::bytes_of(usize::MAX / 4, DType::F32).is_err());
    assert_eq!(Slab::bytes_of(17, DType::F32), Ok(128));
}

#[test]
fn a_workspace_is_made_once_and_grows() {
    let device = CpuDevice::default();
    let mut workspace = Workspace::default();
    let first = workspace.slab(&device, 1000).expect("there is memory").bytes();
    assert!(first >= 1000);
    workspace.slab(&device, 500).expect("there is memory");
    assert_eq!(device.pool().statistics().total.current_bytes, first);
    let mut slab = workspace.slab(&device, 4096).expect("there is memory");
    let (mut a, b) = (slab.take(3, DType::F32).expect("room"), slab.take(5, DType::BF16).expect("room"));
    a.slice::<f32>().expect("floats").fill(1.0);
    assert_eq!((b.len(), slab.bytes()), (5, 4096 - 128));
    assert!(slab.cut(4096).is_err());
    workspace.clear();
    assert_eq!(device.pool().statistics().total.current_bytes, 0);
}
