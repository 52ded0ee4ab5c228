//! Functions of one operand.

use super::CpuDevice;
use super::elementwise::{BLOCK, Floats, GRAIN, Sink, Source, blocks, expect_lengths};
use super::math::{exp, ln, sigmoid, tanh};
use crate::error::Result;
use crate::ops::{Predicate, Unary, UnaryOp};
use crate::simd::{FmaKernel, Kernel, dispatch, dispatch_fma};
use crate::storage::{DType, Element, Float, FloatsMut, View, ViewMut, bf16, f16};
use crate::threads::{SharedMut, for_ranges};

impl Unary for CpuDevice {
    fn unary(&self, op: UnaryOp, x: View<'_>, out: ViewMut<'_>) -> Result<()> {
        expect_lengths(out.len(), &[x.len()])?;
        each(out.len(), &Floats::new(x)?, &FloatsMut::new(out)?, |from, to| dispatch_fma(Apply { op, from, to }));
        Ok(())
    }

    fn predicate(&self, predicate: Predicate, x: View<'_>, mut out: ViewMut<'_>) -> Result<()> {
        let len = out.len();
        expect_lengths(len, &[x.len()])?;
        let out = SharedMut::new(out.slice::<u8>()?);
        match predicate {
            Predicate::Not => map(len, &x.slice::<u8>()?, &out, |x| u8::from(x == 0)),
            Predicate::IsNan => map(len, &Floats::new(x)?, &out, |x: f32| u8::from(x.is_nan())),
            Predicate::IsInf => map(len, &Floats::new(x)?, &out, |x: f32| u8::from(x.is_infinite())),
            Predicate::IsFinite => map(len, &Floats::new(x)?, &out, |x: f32| u8::from(x.is_finite())),
        }
        Ok(())
    }

    fn cast(&self, x: View<'_>, mut out: ViewMut<'_>) -> Result<()> {
        let len = out.len();
        expect_lengths(len, &[x.len()])?;
        match (x.dtype(), out.dtype()) {
            (DType::I32, DType::I32) => out.slice::<i32>()?.copy_from_slice(x.slice()?),
            (DType::Bool, DType::Bool) => out.slice::<u8>()?.copy_from_slice(x.slice()?),
            (DType::I32, DType::Bool) => {
                map(len, &x.slice::<i32>()?, &SharedMut::new(out.slice::<u8>()?), |x| u8::from(x != 0));
            }
            (DType::Bool, DType::I32) => {
                map(len, &x.slice::<u8>()?, &SharedMut::new(out.slice::<i32>()?), i32::from);
            }
            (_, DType::I32) => map(len, &Floats::new(x)?, &SharedMut::new(out.slice::<i32>()?), to_integer),
            (_, DType::Bool) => {
                map(len, &Floats::new(x)?, &SharedMut::new(out.slice::<u8>()?), |x| u8::from(x != 0.0));
            }
            (DType::I32, _) => map(len, &x.slice::<i32>()?, &FloatsMut::new(out)?, |x| x as f32),
            (DType::Bool, _) => map(len, &x.slice::<u8>()?, &FloatsMut::new(out)?, f32::from),
            _ => each(len, &Floats::new(x)?, &FloatsMut::new(out)?, |from, to| to.copy_from_slice(from)),
        }
        Ok(())
    }

    fn fill(&self, value: f64, mut out: ViewMut<'_>) {
        match out.dtype() {
            DType::F32 => fill_all(out.slice::<f32>(), value as f32),
            DType::F16 => fill_all(out.slice::<f16>(), f16::from_f32(value as f32)),
            DType::BF16 => fill_all(out.slice::<bf16>(), <bf16 as Float>::from_f32(value as f32)),
            DType::I32 => fill_all(out.slice::<i32>(), integer_of(value)),
            DType::Bool => fill_all(out.slice::<u8>(), u8::from(value != 0.0)),
        }
    }
}

fn fill_all<T: Element>(out: Result<&mut [T]>, value: T) {
    // The type is the one that was matched on.
    let Ok(out) = out else { return };
    let shared = SharedMut::new(out);
    // SAFETY: pieces are disjoint.
    for_ranges(out.len(), GRAIN, |piece| unsafe { shared.range(piece) }.fill(value));
}

/// As JavaScript's conversion to a 32-bit integer.
#[inline(always)]
fn to_integer(x: f32) -> i32 {
    // From 2^63 on all that float32 can hold is a multiple of 2^32.
    if x.abs() < 9.0e18 { x as i64 as i32 } else { 0 }
}

/// As `to_integer`, for what is exact up to 2^53.
fn integer_of(x: f64) -> i32 {
    if x.is_finite() { (x.trunc() % 4_294_967_296.0) as i64 as i32 } else { 0 }
}

/// Applies a function that the compiler sees through.
struct Map<'a, T, U, F> {
    from: &'a [T],
    to: &'a mut [U],
    map: F,
}

impl<T: Copy, U, F: Fn(T) -> U> Kernel for Map<'_, T, U, F> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            *to = (self.map)(from);
        }
    }
}

/// Calls `write` with the elements of `x` and those of `out` at the same places.
fn each<T: Send, U: Send>(len: usize, x: &impl Source<T>, out: &impl Sink<U>, write: impl Fn(&[T], &mut [U]) + Sync) {
    for_ranges(len, GRAIN, |piece| {
        let (mut read, mut written) = (Vec::new(), Vec::new());
        for block in blocks(piece, BLOCK) {
            let from = x.range(block.clone(), &mut read);
            // SAFETY: pieces are disjoint, and so are their blocks.
            unsafe { out.with(block, &mut written, |to| write(from, to)) };
        }
    });
}

fn map<T: Copy + Send, U: Send>(len: usize, x: &impl Source<T>, out: &impl Sink<U>, map: impl Fn(T) -> U + Sync) {
    each(len, x, out, |from, to| dispatch(Map { from, to, map: &map }));
}

struct Apply<'a> {
    op: UnaryOp,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl FmaKernel for Apply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { op, from, to } = self;
        macro_rules! map {
            ($function:expr) => {
                Map { from, to, map: $function }.run()
            };
        }
        match op {
            UnaryOp::Abs => map!(|x: f32| x.abs()),
            UnaryOp::Neg => map!(|x: f32| -x),
            UnaryOp::Exp => map!(exp::<FMA>),
            UnaryOp::Log => map!(ln::<FMA>),
            UnaryOp::Sqrt => map!(|x: f32| x.sqrt()),
            UnaryOp::Rsqrt => map!(|x: f32| 1.0 / x.sqrt()),
            UnaryOp::Square => map!(|x: f32| x * x),
            UnaryOp::Reciprocal => map!(|x: f32| 1.0 / x),
            UnaryOp::Sigmoid => map!(sigmoid::<FMA>),
            UnaryOp::Tanh => map!(tanh::<FMA>),
            UnaryOp::Relu => map!(|x: f32| if x <= 0.0 { 0.0 } else { x }),
            UnaryOp::Relu6 => map!(|x: f32| x.clamp(0.0, 6.0)),
            UnaryOp::Elu => map!(|x: f32| if x >= 0.0 { x } else { exp::<FMA>(x) - 1.0 }),
            UnaryOp::Sign => map!(|x: f32| if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                0.0
            }),
            UnaryOp::Floor => map!(|x: f32| x.floor()),
            UnaryOp::Ceil => map!(|x: f32| x.ceil()),
            UnaryOp::Round => map!(|x: f32| x.round_ties_even()),
            UnaryOp::LeakyRelu { slope } => map!(|x: f32| if x < 0.0 { slope * x } else { x }),
            UnaryOp::Step { below } => map!(|x: f32| if x > 0.0 {
                1.0
            } else if x.is_nan() {
                x
            } else {
                below
            }),
            UnaryOp::Clip { low, high } => map!(|x: f32| if x > high {
                high
            } else if x < low {
                low
            } else {
                x
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testing::{STORAGES, Stored, assert_close, tolerance, values};
    use crate::simd::{Simd, dispatch_fma_at};

    type Case = (UnaryOp, fn(f64) -> f64);

    /// With what they are in double precision.
    const ALL: [Case; 20] = [
        (UnaryOp::Abs, f64::abs),
        (UnaryOp::Neg, |x| -x),
        (UnaryOp::Exp, f64::exp),
        (UnaryOp::Log, f64::ln),
        (UnaryOp::Sqrt, f64::sqrt),
        (UnaryOp::Rsqrt, |x| 1.0 / x.sqrt()),
        (UnaryOp::Square, |x| x * x),
        (UnaryOp::Reciprocal, |x| 1.0 / x),
        (UnaryOp::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (UnaryOp::Tanh, f64::tanh),
        (UnaryOp::Relu, |x| if x > 0.0 || x.is_nan() { x } else { 0.0 }),
        (UnaryOp::Relu6, |x| if x.is_nan() { x } else { x.clamp(0.0, 6.0) }),
        (UnaryOp::Elu, |x| if x >= 0.0 { x } else { x.exp_m1() }),
        (UnaryOp::Sign, |x| if x == 0.0 || x.is_nan() { 0.0 } else { x.signum() }),
        (UnaryOp::Floor, f64::floor),
        (UnaryOp::Ceil, f64::ceil),
        (UnaryOp::Round, f64::round_ties_even),
        (UnaryOp::LeakyRelu { slope: 0.25 }, |x| if x < 0.0 { 0.25 * x } else { x }),
        (UnaryOp::Step { below: -3.0 }, |x| if x.is_nan() { x } else { f64::from(x > 0.0) * 4.0 - 3.0 }),
        (UnaryOp::Clip { low: -1.0, high: 1.5 }, |x| x.clamp(-1.0, 1.5)),
    ];

    #[test]
    fn functions_are_right_at_every_level_also_for_special_values() {
        let mut inputs = values(1023, 1);
        inputs.extend([0.0, 0.5, 1.5, 2.5, -0.5, -2.5, 7.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        for level in Simd::available() {
            for (op, exact) in ALL {
                let mut outputs = vec![0.0; inputs.len()];
                dispatch_fma_at(level, Apply { op, from: &inputs, to: &mut outputs });
                for (&x, &y) in inputs.iter().zip(&outputs) {
                    let expected = exact(f64::from(x)) as f32;
                    let equal = y == expected || y.is_nan() && expected.is_nan();
                    assert!(
                        equal || (y - expected).abs() <= 2e-6 * expected.abs().max(0.1),
                        "{level:?} {op:?}({x}) {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn operands_are_of_any_storage_and_length() {
        for len in [0, 1, 7, 33, 1023, 70_001] {
            for from in STORAGES {
                for to in STORAGES {
                    let x = Stored::new(&values(len, 2), from);
                    let mut out = Stored::new(&vec![9.0; len], to);
                    CpuDevice::default().unary(UnaryOp::Tanh, x.view(), out.view_mut()).expect("floats");
                    let expected: Vec<_> = x.values().iter().map(|x| x.tanh()).collect();
                    assert_close(&out.values(), &expected, tolerance(to, 1e-6), &format!("{from:?} to {to:?}, {len}"));
                }
            }
        }
    }

    #[test]
    fn floats_become_integers_and_booleans_as_in_javascript() {
        let floats = [1.9, -1.9, f32::NAN, f32::INFINITY, 4_294_967_296.0 + 512.0, 3e9, 1e20, -0.0];
        let mut integers = [7; 8];
        let device = CpuDevice::default();
        device.cast(View::of(&floats), ViewMut::of(&mut integers)).expect("as many");
        assert_eq!(integers, [1, -1, 0, 0, 512, 3_000_000_000_u32 as i32, 0, 0]);
        let mut booleans = [7_u8; 8];
        device.cast(View::of(&floats), ViewMut::of(&mut booleans)).expect("as many");
        assert_eq!(booleans, [1, 1, 1, 1, 1, 1, 1, 0]);
        let mut back = [0.0_f32; 8];
        device.cast(View::of(&booleans), ViewMut::of(&mut back)).expect("as many");
        assert_eq!(back[6..], [1.0, 0.0]);
        assert!(device.cast(View::of(&floats), ViewMut::of(&mut back[1..])).is_err());
    }

    #[test]
    fn predicates_are_of_floats_or_booleans() {
        let floats = [1.0, f32::NAN, f32::NEG_INFINITY];
        let mut out = [9_u8; 3];
        for (predicate, expected) in
            [(Predicate::IsNan, [0, 1, 0]), (Predicate::IsInf, [0, 0, 1]), (Predicate::IsFinite, [1, 0, 0])]
        {
            CpuDevice::default().predicate(predicate, View::of(&floats), ViewMut::of(&mut out)).expect("floats");
            assert_eq!(out, expected);
        }
        let mut not = [9_u8; 3];
        CpuDevice::default().predicate(Predicate::Not, View::of(&out), ViewMut::of(&mut not)).expect("booleans");
        assert_eq!(not, [0, 1, 1]);
        assert!(CpuDevice::default().predicate(Predicate::Not, View::of(&floats), ViewMut::of(&mut not)).is_err());
    }
}
