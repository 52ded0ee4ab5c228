//! For tests of kernels: reproducible values, storages, and comparisons.

use crate::{DType, Float, View, ViewMut, bf16, f16};

/// The float storages.
pub const STORAGES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// Values about normally distributed, the same for the same seed.
pub fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0
    };
    (0..len).map(|_| (uniform() + uniform() + uniform() + uniform() - 2.0) * 1.7).collect()
}

/// A buffer in one of the storages.
pub enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl Stored {
    pub fn new(values: &[f32], dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self::F16(values.iter().map(|&x| f16::from_f32(x)).collect()),
            DType::BF16 => Self::BF16(values.iter().map(|&x| bf16::from_f32(x)).collect()),
            _ => Self::F32(values.to_vec()),
        }
    }

    pub fn view(&self) -> View<'_> {
        match self {
            Self::F32(values) => View::of(values),
            Self::F16(values) => View::of(values),
            Self::BF16(values) => View::of(values),
        }
    }

    pub fn view_mut(&mut self) -> ViewMut<'_> {
        match self {
            Self::F32(values) => ViewMut::of(values),
            Self::F16(values) => ViewMut::of(values),
            Self::BF16(values) => ViewMut::of(values),
        }
    }

    /// The values that it holds, which for halves are rounded.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.iter().map(|&x| f64::from(x)).collect(),
            Self::F16(values) => values.iter().map(|x| f64::from(Float::to_f32(*x))).collect(),
            Self::BF16(values) => values.iter().map(|x| f64::from(Float::to_f32(*x))).collect(),
        }
    }
}

/// Relative error that rounding to a storage makes, or `float32` for float32.
pub fn tolerance(dtype: DType, float32: f64) -> f64 {
    match dtype {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => float32,
    }
}

/// # Panics
/// If a value is further from what is expected than `tolerance` times the largest of these and 1.
#[track_caller]
pub fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= tolerance * scale, "{what}: {a} at {i}; expected {e}");
    }
}
