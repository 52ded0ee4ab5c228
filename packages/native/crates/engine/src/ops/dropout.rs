//! Dropout, whose mask is a function of a seed and an element's place: it is computed again rather than kept.

use crate::error::Result;
use crate::storage::{View, ViewMut};

/// Which elements are dropped: each with probability `rate`, by a random number that depends on `seed` and on its place only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropping {
    /// At least 0 (drops nothing) and below 1.
    pub rate: f64,
    /// Any number.
    pub seed: u32,
}

impl Dropping {
    /// Drops nothing.
    pub const NOTHING: Self = Self { rate: 0.0, seed: 0 };
}

/// Dropout.
pub trait Dropout {
    /// `output = x * mask`, where the mask is 0 for dropped elements and 1 / (1 - rate) for others. It is its own gradient.
    ///
    /// # Errors
    /// If lengths differ, the operands are no floats, or the rate is out of range.
    fn dropout(&self, x: View<'_>, dropping: Dropping, output: ViewMut<'_>) -> Result<()>;
}
