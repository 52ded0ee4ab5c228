//! Attention against its definition, position by position in double precision.

use super::*;
use crate::ops::Dropping;
use crate::storage::{Float, bf16, f16};
use proptest::prelude::*;

/// Reproducible values, uniform in -1..1.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

struct Case {
    shape: AttentionShape,
    mask: Vec<i32>,
    dropping: Dropping,
}

impl Case {
    fn slopes(&self) -> Vec<f32> {
        (0..self.shape.heads).map(|h| 0.5f32.powi(h as i32 + 1)).collect()
    }

    fn input<'a>(&'a self, qkv: View<'a>, slopes: &'a [f32]) -> AttentionInput<'a> {
        AttentionInput { shape: self.shape, qkv, mask: View::of(&self.mask), slopes, dropping: self.dropping }
    }

    /// The context, and the gradient of qkv for `upstream`.
    fn definition(&self, qkv: &[f32], upstream: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let AttentionShape { batch, seq, heads, dim } = self.shape;
        let at = |b: usize, s: usize, h: usize, part: usize| (((b * seq + s) * heads + h) * 3 + part) * dim;
        let dropout = Mask::new(self.dropping).expect("a rate in range");
        let (mut context, mut gradient) = (vec![0.0; self.shape.context_len()], vec![0.0; qkv.len()]);
        let scale = 1.0 / (dim as f64).sqrt();
        let dot = |a: usize, b: usize| (0..dim).map(|d| f64::from(qkv[a + d]) * f64::from(qkv[b + d])).sum::<f64>();
        for b in 0..batch {
            let mask = &self.mask[b * seq..(b + 1) * seq];
            for h in 0..heads {
                for q in 0..seq {
                    let blind = mask[..=q].iter().all(|&m| m == 0);
                    let scores: Vec<f64> = (0..seq)
                        .map(|k| {
                            let position = f64::from((mask[..=k].iter().sum::<i32>() - 1) * mask[k]);
                            let seen = k <= q && mask[k] != 0;
                            let score =
                                dot(at(b, q, h, 0), at(b, k, h, 1)) * scale + f64::from(self.slopes()[h]) * position;
                            if blind {
                                0.0
                            } else if seen {
                                score
                            } else {
                                f64::NEG_INFINITY
                            }
                        })
                        .collect();
                    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                    let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
                    let row = ((b * seq + q) * heads + h) * dim;
                    let mut terms = Vec::new();
                    for k in 0..seq {
                        let p = (scores[k] - largest).exp() / sum;
                        let index = ((b * heads + h) * seq + q) * seq + k;
                        let factor = f64::from(dropout.factor(dropout.state(index)));
                        let mut dp = 0.0;
                        for d in 0..dim {
                            context[row + d] += p * factor * f64::from(qkv[at(b, k, h, 2) + d]);
                            gradient[at(b, k, h, 2) + d] += p * factor * f64::from(upstream[row + d]);
                            dp += f64::from(upstream[row + d]) * f64::from(qkv[at(b, k, h, 2) + d]) * factor;
                        }
                        terms.push((p, dp));
                    }
                    let along: f64 = terms.iter().map(|(p, dp)| p * dp).sum();
                    for (k, (p, dp)) in terms.iter().enumerate() {
                        let ds = p * (dp - along) * scale;
                        for d in 0..dim {
                            gradient[at(b, q, h, 0) + d] += ds * f64::from(qkv[at(b, k, h, 1) + d]);
                            gradient[at(b, k, h, 1) + d] += ds * f64::from(qkv[at(b, q, h, 0) + d]);
                        }
                    }
                }
            }
        }
        (context, gradient)
    }

    fn run<T: Float>(&self, level: Simd, qkv: &[f32], upstream: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let stored: Vec<T> = qkv.iter().map(|&x| T::from_f32(x)).collect();
        let slopes = self.slopes();
        let input = self.input(View::of(&stored), &slopes);
        let mut context = vec![T::from_f32(f32::NAN); self.shape.context_len()];
        let mut sums = vec![f32::NAN; self.shape.rows()];
        forward_at(level, input, ViewMut::of(&mut context), ViewMut::of(&mut sums)).expect("operands fit");
        let mut gradient = vec![f32::NAN; qkv.len()];
        backward_at(level, input, View::of(upstream), View::of(&context), View::of(&sums), ViewMut::of(&mut gradient))
            .expect("operands fit");
        (context.iter().map(|x| x.to_f32()).collect(), gradient)
    }

    fn check<T: Float>(&self, tolerance: f64) {
        let qkv: Vec<f32> =
            values(self.shape.qkv_len(), 1).into_iter().map(|x| T::from_f32(2.0 * x).to_f32()).collect();
        let upstream = values(self.shape.context_len(), 2);
        let (context, gradient) = self.definition(&qkv, &upstream);
        for level in Simd::available() {
            let (actual, actual_gradient) = self.run::<T>(level, &qkv, &upstream);
            close("context", &actual, &context, tolerance);
            close("gradient", &actual_gradient, &gradient, tolerance);
        }
    }
}

fn close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - e).abs();
        assert!(error <= tolerance * scale, "{what} {i}: {a} instead of {e}");
    }
}

fn shape(batch: usize, seq: usize, heads: usize, dim: usize) -> AttentionShape {
    AttentionShape { batch, seq, heads, dim }
}

fn case(shape: AttentionShape, rate: f64, mask: impl Fn(usize, usize) -> bool) -> Case {
    let mask = (0..shape.batch * shape.seq).map(|i| i32::from(mask(i / shape.seq, i % shape.seq))).collect();
    Case { shape, mask, dropping: Dropping { rate, seed: 99 } }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn gives_the_definition_for_any_shape_and_mask(
        batch in 1usize..3, seq in 1usize..40, heads in 1usize..4, dim in 1usize..20, rate in prop_oneof![Just(0.0), 0.1f64..0.6],
        bits in proptest::collection::vec(0i32..2, 80)
    ) {
        case(shape(batch, seq, heads, dim), rate, |b, s| bits[b * seq + s] == 1).check::<f32>(1e-5);
    }

    #[test]
    fn gives_the_definition_across_tiles_with_padding_on_either_side(
        seq in 90usize..310, left in 0usize..310, right in 0usize..310, rate in prop_oneof![Just(0.0), Just(0.3)]
    ) {
        case(shape(2, seq, 1, 8), rate, |b, s| b == 1 || s >= left && s + right < seq).check::<f32>(1e-5);
    }
}

#[test]
fn works_at_the_sizes_of_bloom() {
    for (seq, heads, dim) in [(1, 16, 64), (33, 3, 16), (255, 2, 64), (97, 3, 128)] {
        case(shape(1, seq, heads, dim), 0.0, |_, _| true).check::<f32>(1e-5);
    }
    case(shape(1, 1023, 2, 16), 0.1, |_, s| s >= 100).check::<f32>(1e-5);
}

#[test]
fn a_hole_of_whole_tiles_and_nothing_but_padding_are_padding_too() {
    case(shape(1, 400, 1, 8), 0.0, |_, s| !(90..300).contains(&s)).check::<f32>(1e-5);
    case(shape(2, 200, 1, 8), 0.2, |b, _| b == 1).check::<f32>(1e-5);
}

#[test]
fn halves_are_read_exactly_and_written_within_their_rounding() {
    case(shape(2, 130, 2, 16), 0.2, |b, s| b == 0 || s > 70).check::<f16>(1e-3);
    case(shape(2, 130, 2, 16), 0.2, |b, s| b == 0 || s < 70).check::<bf16>(8e-3);
}

#[test]
fn gives_the_same_bits_on_every_number_of_threads_and_every_time() {
    let case = case(shape(2, 500, 2, 16), 0.1, |b, s| b == 0 || s > 150);
    let qkv = values(case.shape.qkv_len(), 1);
    let upstream = values(case.shape.context_len(), 2);
    let run = |threads| {
        std::thread::scope(|scope| {
            let work = || {
                crate::threads::set_threads(threads).expect("a pool");
                case.run::<f32>(level(), &qkv, &upstream)
            };
            scope.spawn(work).join().expect("no panic")
        })
    };
    let alone = run(1);
    assert!(alone == run(3) && alone == run(1));
}

#[test]
fn an_overflow_is_not_remembered() {
    let case = case(shape(1, 50, 1, 4), 0.0, |_, _| true);
    let (qkv, upstream) = (values(case.shape.qkv_len(), 1), values(case.shape.context_len(), 2));
    let clean = case.run::<f32>(level(), &qkv, &upstream);
    let (context, gradient) =
        case.run::<f32>(level(), &vec![f32::NAN; qkv.len()], &vec![f32::INFINITY; upstream.len()]);
    assert!(context.iter().chain(&gradient).all(|x| x.is_nan()));
    assert!(case.run::<f32>(level(), &qkv, &upstream) == clean);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let case = case(shape(1, 4, 1, 4), 0.0, |_, _| true);
    let qkv = vec![0.0; 40];
    let error = forward_at(
        level(),
        case.input(View::of(&qkv), &case.slopes()),
        ViewMut::of(&mut [0.0; 16]),
        ViewMut::of(&mut [0.0; 4]),
    )
    .expect_err("qkv is too short");
    assert!(error.to_string().contains("qkv has 40 elements"), "{error}");
}
