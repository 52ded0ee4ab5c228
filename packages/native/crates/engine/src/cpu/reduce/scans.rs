//! What runs along a row: cumulative sums, and where the extreme is.

use crate::cpu::rows::fold;
use crate::ops::Cumulation;
use crate::simd::FmaKernel;

/// Combines each row's elements up to each position.
#[inline(always)]
pub fn cumulate<T: Copy>(x: &[T], y: &mut [T], cumulation: Cumulation, zero: T, add: impl Fn(T, T) -> T) {
    let mut sum = zero;
    let mut step = |y: &mut T, x: T| {
        let next = add(sum, x);
        *y = if cumulation.exclusive { sum } else { next };
        sum = next;
    };
    if cumulation.reverse {
        y.iter_mut().zip(x).rev().for_each(|(y, &x)| step(y, x));
    } else {
        y.iter_mut().zip(x).for_each(|(y, &x)| step(y, x));
    }
}

/// The index of the first of the largest (or smallest) elements; what compares with nothing (NaN) never takes the place of another.
#[inline(always)]
pub fn first_extreme<T: Copy + PartialOrd>(x: &[T], largest: bool) -> i32 {
    let better = |a: T, b: T| if largest { a > b } else { a < b };
    (1..x.len()).fold(0, |best, i| if better(x[i], x[best]) { i } else { best }) as i32
}

/// [`first_extreme`] of floats: the extreme by vectors, then its place.
pub struct ArgExtreme<'a>(pub &'a [f32], pub bool);

impl FmaKernel for ArgExtreme<'_> {
    type Output = i32;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> i32 {
        let Self(x, largest) = self;
        if x.first().is_none_or(|x| x.is_nan()) {
            return 0;
        }
        let extreme = if largest {
            fold(x, f32::NEG_INFINITY, |x| x, |a, b| if b > a { b } else { a })
        } else {
            fold(x, f32::INFINITY, |x| x, |a, b| if b < a { b } else { a })
        };
        x.iter().position(|&x| x == extreme).unwrap_or(0) as i32
    }
}
