//! A block against its definition in double precision, and against itself run otherwise.

mod reference;

use super::slab::Slab;
use super::{Block, BlockInput, BlockSpec, Keep, Target, Workspace, backward, bucket, forward, kept_bytes};
use crate::cpu::CpuDevice;
use crate::cpu::testing::{Stored, assert_close, values};
use crate::memory::Kind;
use crate::ops::Dropping;
use crate::simd::testing::at_each_level;
use crate::{DType, Device, View, ViewMut};
use proptest::prelude::*;
use reference::Reference;

const PARAMETERS: usize = 12;

#[derive(Debug, Clone, Copy)]
struct Case {
    batch: usize,
    seq: usize,
    heads: usize,
    dim: usize,
    after_norm: bool,
    storage: DType,
    dropping: f64,
    /// Tokens of padding at the beginning of the first sequence; negative at its end.
    padding: i32,
}

const SMALL: Case =
    Case { batch: 2, seq: 7, heads: 3, dim: 4, after_norm: false, storage: DType::F32, dropping: 0.0, padding: 2 };

struct Operands {
    case: Case,
    hidden: Stored,
    mask: Vec<i32>,
    parameters: Vec<Vec<f32>>,
    slopes: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl Operands {
    fn of(case: Case) -> Self {
        let width = case.heads * case.dim;
        let tokens = case.batch * case.seq;
        let weight = |outputs: usize, inputs: usize, seed| {
            values(outputs * inputs, seed).iter().map(|x| x / (inputs as f32).sqrt()).collect::<Vec<_>>()
        };
        let vector = |len, mean: f32, seed| values(len, seed).iter().map(|x| mean + 0.2 * x).collect::<Vec<_>>();
        let mask = (0..tokens as i32).map(|i| {
            let (row, column, seq) = (i / case.seq as i32, i % case.seq as i32, case.seq as i32);
            let padded = if case.padding < 0 { column >= seq + case.padding } else { column < case.padding };
            i32::from(row > 0 || !padded)
        });
        let mask: Vec<i32> = mask.collect();
        let mut output_gradient = values(tokens * width, 60);
        // A query without visible keys has a gradient by convention, not by its definition: nothing depends on those here.
        for (row, _) in output_gradient.chunks_mut(width).zip(&mask).filter(|(_, m)| **m == 0) {
            row.fill(0.0);
        }
        Self {
            case,
            hidden: Stored::new(&values(tokens * width, 50), case.storage),
            mask,
            parameters: vec![
                vector(width, 1.0, 1),
                vector(width, 0.0, 2),
                weight(3 * width, width, 3),
                vector(3 * width, 0.0, 4),
                weight(width, width, 5),
                vector(width, 0.0, 6),
                vector(width, 1.0, 7),
                vector(width, 0.0, 8),
                weight(4 * width, width, 9),
                vector(4 * width, 0.0, 10),
                weight(width, 4 * width, 11),
                vector(width, 0.0, 12),
            ],
            slopes: (0..case.heads).map(|head| 0.5f32.powi(head as i32 + 1)).collect(),
            output_gradient,
        }
    }

    fn spec(&self) -> BlockSpec<'_> {
        let dropping = |seed| Dropping { rate: self.case.dropping, seed };
        BlockSpec {
            epsilon: 1e-5,
            residual_after_norm: self.case.after_norm,
            slopes: &self.slopes,
            attention_dropping: dropping(1),
            hidden_droppings: [dropping(2), dropping(3)],
            storage: self.case.storage,
        }
    }

    fn weights(&self) -> Block<View<'_>> {
        Block::from_list(std::array::from_fn(|i| View::of(&self.parameters[i])))
    }

    fn input(&self) -> BlockInput<'_> {
        BlockInput {
            hidden: self.hidden.view(),
            mask: View::of(&self.mask),
            batch: self.case.batch,
            seq: self.case.seq,
        }
    }

    fn reference(&self) -> Reference {
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        Reference {
            parameters: self.parameters.iter().map(|p| wide(p)).collect(),
            slopes: wide(&self.slopes),
            epsilon: 1e-5,
            after_norm: self.case.after_norm,
            batch: self.case.batch,
            seq: self.case.seq,
            mask: self.mask.clone(),
        }
    }

    /// Runs both directions. `times` are micro-batches, `wanted` tells which parameters have a gradient.
    fn run(&self, keeps: bool, times: usize, wanted: impl Fn(usize) -> bool) -> Run {
        let device = CpuDevice::default();
        let mut workspace = Workspace::default();
        let (spec, weights, input) = (self.spec(), self.weights(), self.input());
        let len = self.hidden.view().len();
        let mut output = Stored::new(&vec![f32::NAN; len], self.case.storage);
        let mut gradients: Vec<Vec<f32>> = self.parameters.iter().map(|p| vec![f32::NAN; p.len()]).collect();
        let mut hidden_gradient = vec![f32::NAN; len];
        for time in 0..times {
            let bytes =
                kept_bytes(input.tokens(), weights.width(), weights.inner(), self.case.heads, self.case.storage);
            let buffer = device.allocate(bytes, Kind::Tensor).expect("there is memory");
            // SAFETY: the buffer is ours and lives until the end of this turn; forward and backward have it one after the other.
            let slab = || unsafe { Slab::from_raw(buffer.pointer(), buffer.bytes()) };
            let keep = if keeps { Keep::Here(slab()) } else { Keep::Not };
            forward(&device, &mut workspace, &spec, &weights, &input, keep, output.view_mut()).expect("operands fit");
            let mut targets = gradients
                .iter_mut()
                .enumerate()
                .map(|(i, gradient)| wanted(i).then(|| Target { to: ViewMut::of(gradient), accumulate: time > 0 }));
            let targets = Block::from_list(std::array::from_fn(|_| targets.next().flatten()));
            let to = ViewMut::of(&mut hidden_gradient);
            let kept = keeps.then(slab);
            let dy = View::of(&self.output_gradient);
            backward(&device, &mut workspace, &spec, &weights, &input, kept, dy, targets, to).expect("operands fit");
        }
        Run { output: output.values(), hidden_gradient, gradients }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Run {
    output: Vec<f64>,
    hidden_gradient: Vec<f32>,
    gradients: Vec<Vec<f32>>,
}

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
