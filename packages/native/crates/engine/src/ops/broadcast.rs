//! How two operands of different shapes meet element by element.

use crate::error::{EngineError, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    len: usize,
    /// Elements from one to the next, in `a` and `b`; 0 where the operand is repeated.
    steps: [usize; 2],
}

/// Two shapes under the rule that missing and single axes are repeated, with axes merged where both operands go on without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// The innermost last; never empty.
    axes: Vec<Axis>,
    len: usize,
    operand_lens: [usize; 2],
}

/// Elements of the result that lie next to each other, and what meets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where the operands begin.
    pub from: [usize; 2],
    /// Whether the operand is one element for the whole run.
    pub repeats: [bool; 2],
    /// How many elements.
    pub len: usize,
}

impl Broadcast {
    /// # Errors
    /// If the shapes do not fit together.
    pub fn new(a: &[usize], b: &[usize]) -> Result<Self> {
        let rank = a.len().max(b.len());
        let mut axes: Vec<Axis> = Vec::with_capacity(rank + 1);
        let mut strides = [1usize, 1];
        let too_large = || EngineError::BadOperand(format!("Shapes {a:?} and {b:?} are too large."));
        // From the innermost outwards.
        for i in 0..rank {
            let size = |shape: &[usize]| if i < shape.len() { shape[shape.len() - 1 - i] } else { 1 };
            let sizes = [size(a), size(b)];
            let len = if sizes[0] == 1 { sizes[1] } else { sizes[0] };
            if sizes[1] != len && sizes[1] != 1 {
                return Err(EngineError::BadOperand(format!("Shapes {a:?} and {b:?} cannot be broadcast.")));
            }
            let steps = [0, 1].map(|operand| if sizes[operand] == 1 { 0 } else { strides[operand] });
            for operand in 0..2 {
                strides[operand] = strides[operand].checked_mul(sizes[operand]).ok_or_else(too_large)?;
            }
            if len == 1 {
                continue;
            }
            match axes.last_mut() {
                Some(inner) if (0..2).all(|operand| steps[operand] == inner.steps[operand] * inner.len) => {
                    inner.len *= len;
                }
                _ => axes.push(Axis { len, steps }),
            }
        }
        if axes.is_empty() {
            axes.push(Axis { len: 1, steps: [1, 1] });
        }
        axes.reverse();
        let len = axes.iter().try_fold(1usize, |len, axis| len.checked_mul(axis.len)).ok_or_else(too_large)?;
        Ok(Self { axes, len, operand_lens: strides })
    }

    /// Elements of the result.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the result has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements of `a` and `b`.
    pub fn operand_lens(&self) -> [usize; 2] {
        self.operand_lens
    }

    /// The run that element `at` of the result is in, from there to its end.
    #[inline]
    pub fn run_at(&self, at: usize) -> Run {
        let (inner, outer) = (self.axes[self.axes.len() - 1], &self.axes[..self.axes.len() - 1]);
        let within = at % inner.len;
        let mut rest = at / inner.len;
        let mut from = inner.steps.map(|step| step * within);
        for axis in outer.iter().rev() {
            let index = rest % axis.len;
            rest /= axis.len;
            from[0] += index * axis.steps[0];
            from[1] += index * axis.steps[1];
        }
        Run { from, repeats: inner.steps.map(|step| step == 0), len: inner.len - within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_merge_where_both_operands_go_on() {
        let equal = Broadcast::new(&[2, 3, 4], &[2, 3, 4]).expect("fits");
        assert_eq!(equal.run_at(5), Run { from: [5, 5], repeats: [false, false], len: 19 });
        let scalar = Broadcast::new(&[2, 3], &[]).expect("fits");
        assert_eq!(scalar.run_at(0), Run { from: [0, 0], repeats: [false, true], len: 6 });
        let rows = Broadcast::new(&[2, 1, 5], &[3, 1]).expect("fits");
        assert_eq!(rows.len(), 30);
        assert_eq!(rows.run_at(16), Run { from: [6, 0], repeats: [false, true], len: 4 });
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert!(Broadcast::new(&[2, 3], &[2]).is_err());
        assert_eq!(Broadcast::new(&[0, 3], &[1, 3]).expect("fits").len(), 0);
        assert!(Broadcast::new(&[0, 3], &[2, 3]).is_err());
    }
}
