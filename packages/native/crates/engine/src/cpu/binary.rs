//! Functions of two operands.

use super::CpuDevice;
use super::elementwise::{BLOCK, Floats, GRAIN, Sink, Source, blocks, expect_lengths};
use crate::error::{EngineError, Result};
use crate::ops::{Binary, BinaryOp, Broadcast, CompareOp};
use crate::simd::{Kernel, dispatch};
use crate::storage::{DType, Element, FloatsMut, View, ViewMut};
use crate::threads::{SharedMut, for_ranges};

impl Binary for CpuDevice {
    fn binary(&self, op: BinaryOp, shapes: &Broadcast, a: View<'_>, b: View<'_>, mut out: ViewMut<'_>) -> Result<()> {
        expect_operands(shapes, a, b, out.len())?;
        if a.dtype() == DType::I32 {
            let (a, b) = (a.slice::<i32>()?, b.slice::<i32>()?);
            let out = SharedMut::new(out.slice::<i32>()?);
            match op {
                BinaryOp::Add => zip(shapes, &a, &b, &out, i32::wrapping_add),
                BinaryOp::Sub => zip(shapes, &a, &b, &out, i32::wrapping_sub),
                // Through a double, as JavaScript: beyond 2^53 the lowest bits are lost.
                BinaryOp::Mul => zip(shapes, &a, &b, &out, |a, b| (f64::from(a) * f64::from(b)) as i64 as i32),
                BinaryOp::Max => zip(shapes, &a, &b, &out, i32::max),
                BinaryOp::Min => zip(shapes, &a, &b, &out, i32::min),
                _ => return Err(EngineError::BadOperand(format!("{op:?} is of floats only."))),
            }
            return Ok(());
        }
        let (a, b) = (Floats::new(a)?, Floats::new(b)?);
        let out = FloatsMut::new(out)?;
        match op {
            BinaryOp::Add => zip(shapes, &a, &b, &out, |a: f32, b: f32| a + b),
            BinaryOp::Sub => zip(shapes, &a, &b, &out, |a: f32, b: f32| a - b),
            BinaryOp::Mul => zip(shapes, &a, &b, &out, |a: f32, b: f32| a * b),
            BinaryOp::Div => zip(shapes, &a, &b, &out, |a: f32, b: f32| a / b),
            BinaryOp::Max => zip(shapes, &a, &b, &out, |a: f32, b: f32| if a > b || a.is_nan() { a } else { b }),
            BinaryOp::Min => zip(shapes, &a, &b, &out, |a: f32, b: f32| if a < b || a.is_nan() { a } else { b }),
            BinaryOp::Pow => zip(shapes, &a, &b, &out, power),
            BinaryOp::SquaredDifference => zip(shapes, &a, &b, &out, |a: f32, b: f32| (a - b) * (a - b)),
        }
        Ok(())
    }

    fn compare(&self, op: CompareOp, shapes: &Broadcast, a: View<'_>, b: View<'_>, mut out: ViewMut<'_>) -> Result<()> {
        expect_operands(shapes, a, b, out.len())?;
        let out = SharedMut::new(out.slice::<u8>()?);
        match (op, a.dtype()) {
            (CompareOp::And, _) => zip(shapes, &a.slice::<u8>()?, &b.slice::<u8>()?, &out, |a, b| a & b),
            (CompareOp::Or, _) => zip(shapes, &a.slice::<u8>()?, &b.slice::<u8>()?, &out, |a, b| a | b),
            (CompareOp::Xor, _) => zip(shapes, &a.slice::<u8>()?, &b.slice::<u8>()?, &out, |a, b| a ^ b),
            (_, DType::I32) => compare_values(op, shapes, &a.slice::<i32>()?, &b.slice::<i32>()?, &out),
            (_, DType::Bool) => compare_values(op, shapes, &a.slice::<u8>()?, &b.slice::<u8>()?, &out),
            _ => compare_values(op, shapes, &Floats::new(a)?, &Floats::new(b)?, &out),
        }
        Ok(())
    }

    fn select(&self, condition: View<'_>, a: View<'_>, b: View<'_>, mut out: ViewMut<'_>) -> Result<()> {
        expect_lengths(out.len(), &[condition.len(), a.len(), b.len()])?;
        let condition = condition.slice::<u8>()?;
        match a.dtype() {
            DType::I32 => {
                let out = SharedMut::new(out.slice::<i32>()?);
                select_values(condition, &a.slice::<i32>()?, &b.slice::<i32>()?, &out);
            }
            DType::Bool => {
                let out = SharedMut::new(out.slice::<u8>()?);
                select_values(condition, &a.slice::<u8>()?, &b.slice::<u8>()?, &out);
            }
            _ => select_values(condition, &Floats::new(a)?, &Floats::new(b)?, &FloatsMut::new(out)?),
        }
        Ok(())
    }
}

fn expect_operands(shapes: &Broadcast, a: View<'_>, b: View<'_>, out: usize) -> Result<()> {
    expect_lengths(shapes.len(), &[out])?;
    let [a_len, b_len] = shapes.operand_lens();
    expect_lengths(a_len, &[a.len()])?;
    expect_lengths(b_len, &[b.len()])
}

/// As JavaScript's Math.pow: NaN for an exponent of NaN, and for 1 to the power of an infinity.
#[inline(always)]
fn power(base: f32, exponent: f32) -> f32 {
    if exponent.is_nan() || base.abs() == 1.0 && exponent.is_infinite() { f32::NAN } else { base.powf(exponent) }
}

fn compare_values<T: Element + PartialOrd>(
    op: CompareOp,
    shapes: &Broadcast,
    a: &impl Source<T>,
    b: &impl Source<T>,
    out: &SharedMut<u8>,
) {
    match op {
        CompareOp::Equal => zip(shapes, a, b, out, |a, b| u8::from(a == b)),
        CompareOp::NotEqual => zip(shapes, a, b, out, |a, b| u8::from(a != b)),
        CompareOp::Less => zip(shapes, a, b, out, |a, b| u8::from(a < b)),
        CompareOp::LessEqual => zip(shapes, a, b, out, |a, b| u8::from(a <= b)),
        CompareOp::Greater => zip(shapes, a, b, out, |a, b| u8::from(a > b)),
        _ => zip(shapes, a, b, out, |a, b| u8::from(a >= b)),
    }
}

/// Elements of an operand that meet those of another: many, or one for all.
#[derive(Clone, Copy)]
enum Side<'a, T> {
    Many(&'a [T]),
    One(T),
}

struct Meet<'a, T, U, F> {
    sides: [Side<'a, T>; 2],
    to: &'a mut [U],
    function: F,
}

impl<T: Copy, U, F: Fn(T, T) -> U> Kernel for Meet<'_, T, U, F> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { sides, to, function } = self;
        match sides {
            [Side::Many(a), Side::Many(b)] => {
                for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
                    *to = function(a, b);
                }
            }
            [Side::Many(a), Side::One(b)] => to.iter_mut().zip(a).for_each(|(to, &a)| *to = function(a, b)),
            [Side::One(a), Side::Many(b)] => to.iter_mut().zip(b).for_each(|(to, &b)| *to = function(a, b)),
            [Side::One(a), Side::One(b)] => to.iter_mut().for_each(|to| *to = function(a, b)),
        }
    }
}

fn zip<T: Copy + Send, U: Send>(
    shapes: &Broadcast,
    a: &impl Source<T>,
    b: &impl Source<T>,
    out: &impl Sink<U>,
    function: impl Fn(T, T) -> U + Sync,
) {
    for_ranges(shapes.len(), GRAIN, |piece| {
        let (mut read_a, mut read_b, mut written) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = piece.start;
        while at < piece.end {
            let run = shapes.run_at(at);
            let len = run.len.min(piece.end - at).min(BLOCK);
            let sides = [
                side(a, run.from[0], run.repeats[0], len, &mut read_a),
                side(b, run.from[1], run.repeats[1], len, &mut read_b),
            ];
            // SAFETY: pieces are disjoint, and so are the runs in them.
            unsafe {
                out.with(at..at + len, &mut written, |to| dispatch(Meet { sides, to, function: &function }));
            }
            at += len;
        }
    });
}

#[inline(always)]
fn side<'s, T: Copy>(
    operand: &'s impl Source<T>,
    from: usize,
    repeats: bool,
    len: usize,
    scratch: &'s mut Vec<T>,
) -> Side<'s, T> {
    if repeats {
        Side::One(operand.range(from..from + 1, scratch)[0])
    } else {
        Side::Many(operand.range(from..from + len, scratch))
    }
}

struct Choose<'a, T> {
    condition: &'a [u8],
    a: &'a [T],
    b: &'a [T],
    to: &'a mut [T],
}

impl<T: Copy> Kernel for Choose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (((to, &condition), &a), &b) in self.to.iter_mut().zip(self.condition).zip(self.a).zip(self.b) {
            *to = if condition != 0 { a } else { b };
        }
    }
}

fn select_values<T: Copy + Send>(condition: &[u8], a: &impl Source<T>, b: &impl Source<T>, out: &impl Sink<T>) {
    for_ranges(condition.len(), GRAIN, |piece| {
        let (mut read_a, mut read_b, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for block in blocks(piece, BLOCK) {
            let condition = &condition[block.clone()];
            let (a, b) = (a.range(block.clone(), &mut read_a), b.range(block.clone(), &mut read_b));
            // SAFETY: pieces are disjoint, and so are their blocks.
            unsafe { out.with(block, &mut written, |to| dispatch(Choose { condition, a, b, to })) };
        }
    });
}
