//! Values in any float storage.

use crate::storage::{DType, Float, View, ViewMut, bf16, f16};

/// Values of a storage, with a view of them.
pub enum Stored {
    Full(Vec<f32>),
    Half(Vec<f16>),
    Brain(Vec<bf16>),
}

impl Stored {
    pub fn new(dtype: DType, values: &[f32]) -> Self {
        match dtype {
            DType::F16 => Self::Half(values.iter().map(|&x| Float::from_f32(x)).collect()),
            DType::BF16 => Self::Brain(values.iter().map(|&x| Float::from_f32(x)).collect()),
            _ => Self::Full(values.to_vec()),
        }
    }

    pub fn view(&self) -> View<'_> {
        match self {
            Self::Full(values) => View::of(values),
            Self::Half(values) => View::of(values),
            Self::Brain(values) => View::of(values),
        }
    }

    pub fn view_mut(&mut self) -> ViewMut<'_> {
        match self {
            Self::Full(values) => ViewMut::of(values),
            Self::Half(values) => ViewMut::of(values),
            Self::Brain(values) => ViewMut::of(values),
        }
    }

    pub fn values(&self) -> Vec<f64> {
        match self {
            Self::Full(values) => values.iter().map(|&x| f64::from(x)).collect(),
            Self::Half(values) => values.iter().map(|x| f64::from(x.to_f32())).collect(),
            Self::Brain(values) => values.iter().map(|x| f64::from(x.to_f32())).collect(),
        }
    }
}
