//! Dropout by a generator that a counter drives: mulberry32, the one of core's composite, so that all accelerators drop the same.

use super::CpuDevice;
use crate::error::{EngineError, Result};
use crate::ops::{Dropout, Dropping};
use crate::simd::{Kernel, dispatch};
use crate::storage::{FloatsMut, View, ViewMut};
use crate::threads::for_ranges;

/// What the state moves on by from one element to the next.
const STEP: u32 = 0x6d2b_79f5;
/// Elements of one piece of work.
const GRAIN: usize = 1 << 14;
/// Elements that are converted at once where they are stored as halves.
const BLOCK: usize = 1 << 10;

/// A [`Dropping`] as kernels use it.
#[derive(Clone, Copy)]
pub struct Mask {
    seed: u32,
    /// Random numbers below it are dropped.
    threshold: u32,
    /// What others are multiplied by.
    kept: f32,
}

impl Mask {
    /// # Errors
    /// If the rate is out of range.
    pub fn new(dropping: Dropping) -> Result<Self> {
        let Dropping { rate, seed } = dropping;
        if !(0.0..1.0).contains(&rate) {
            return Err(EngineError::BadOperand(format!(
                "The rate of dropout is {rate}; it must be at least 0 and below 1."
            )));
        }
        let threshold = (rate * 2f64.powi(32)).ceil();
        // A rate within 2^-32 of 1 keeps nothing.
        let kept = if threshold < 2f64.powi(32) { (1.0 / (1.0 - rate)) as f32 } else { 0.0 };
        Ok(Self { seed, threshold: threshold as u32, kept })
    }

    /// The state of the generator at element `index`.
    #[inline(always)]
    pub fn state(&self, index: usize) -> u32 {
        self.seed.wrapping_add((index as u32).wrapping_add(1).wrapping_mul(STEP))
    }

    /// The state `elements` further on.
    #[inline(always)]
    pub fn advance(state: u32, elements: u32) -> u32 {
        state.wrapping_add(elements.wrapping_mul(STEP))
    }

    /// What the element of this state is multiplied by.
    #[inline(always)]
    pub fn factor(&self, state: u32) -> f32 {
        let bits = (state ^ (state >> 15)).wrapping_mul(1 | state);
        let bits = bits.wrapping_add((bits ^ (bits >> 7)).wrapping_mul(61 | bits)) ^ bits;
        if bits ^ (bits >> 14) >= self.threshold { self.kept } else { 0.0 }
    }
}

struct Apply<'a> {
    x: &'a [f32],
    output: &'a mut [f32],
    mask: Mask,
    first: usize,
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let state = self.mask.state(self.first);
        for (i, (to, &x)) in self.output.iter_mut().zip(self.x).enumerate() {
            *to = x * self.mask.factor(Mask::advance(state, i as u32));
        }
    }
}

impl Dropout for CpuDevice {
    fn dropout(&self, x: View<'_>, dropping: Dropping, output: ViewMut<'_>) -> Result<()> {
        let mask = Mask::new(dropping)?;
        if x.len() != output.len() || !x.dtype().is_float() {
            return Err(EngineError::BadOperand(format!(
                "dropout: {} elements of {:?} into {}; expected as many floats.",
                x.len(),
                x.dtype(),
                output.len()
            )));
        }
        let output = FloatsMut::new(output)?;
        for_ranges(x.len(), GRAIN, |range| {
            let (mut from, mut to) = (Vec::new(), Vec::new());
            for start in range.clone().step_by(BLOCK) {
                let part = start..(start + BLOCK).min(range.end);
                let Ok(x) = x.floats(part.clone(), &mut from) else { unreachable!("checked above") };
                // SAFETY: pieces and their blocks are disjoint.
                unsafe {
                    output.with_range(part, false, &mut to, |output| dispatch(Apply { x, output, mask, first: start }));
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Simd, dispatch_at};
    use crate::storage::f16;
    use proptest::prelude::*;

    /// Core's loop, from one element to the next.
    fn composite(len: usize, rate: f64, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let drawn = |bits: u32| {
            let bits = (bits ^ (bits >> 15)).wrapping_mul(1 | bits);
            let bits = bits.wrapping_add((bits ^ (bits >> 7)).wrapping_mul(61 | bits)) ^ bits;
            f64::from(bits ^ (bits >> 14))
        };
        (0..len)
            .map(|_| {
                state = state.wrapping_add(STEP);
                if drawn(state) >= rate * 2f64.powi(32) { (1.0 / (1.0 - rate)) as f32 } else { 0.0 }
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn the_mask_is_the_composite_s_at_every_level(len in 0usize..40_000, rate in 0.0f64..1.0, seed: u32) {
            let expected = composite(len, rate, seed);
            let mut output = vec![f32::NAN; len];
            let dropping = Dropping { rate, seed };
            CpuDevice::default().dropout(View::of(&vec![1.0f32; len]), dropping, ViewMut::of(&mut output)).expect("floats");
            prop_assert_eq!(&output, &expected);
            for level in Simd::available() {
                let mask = Mask::new(dropping).expect("in range");
                dispatch_at(level, Apply { x: &vec![1.0; len], output: &mut output, mask, first: 0 });
                prop_assert_eq!(&output, &expected);
            }
        }
    }

    #[test]
    fn halves_are_read_and_written_and_other_operands_refused() {
        let x: Vec<f16> = (0..3000).map(|i| f16::from_f32(i as f32)).collect();
        let mut output = vec![f16::NAN; 3000];
        let dropping = Dropping { rate: 0.5, seed: 3 };
        CpuDevice::default().dropout(View::of(&x), dropping, ViewMut::of(&mut output)).expect("floats");
        let expected = composite(3000, 0.5, 3);
        assert!((0..3000).all(|i| output[i].to_f32() == x[i].to_f32() * expected[i]));
        fn refused(x: View<'_>, rate: f64, output: ViewMut<'_>) -> bool {
            CpuDevice::default().dropout(x, Dropping { rate, seed: 0 }, output).is_err()
        }
        assert!(refused(View::of(&[1i32]), 0.1, ViewMut::of(&mut [1.0f32])));
        assert!(refused(View::of(&[1.0f32]), 0.1, ViewMut::of(&mut [1.0f32; 2])));
        assert!(refused(View::of(&[1.0f32]), 1.0, ViewMut::of(&mut [1.0f32])));
    }
}
