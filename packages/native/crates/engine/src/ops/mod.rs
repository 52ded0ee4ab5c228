//! The families of kernels that a device has, as traits: one file each. `cpu/` implements them, in files of the same names.

mod attention;
mod dropout;
mod gelu;
mod gemm;
mod layer_norm;

pub use attention::{AttentionInput, AttentionShape, BloomAttention};
pub use dropout::{Dropout, Dropping};
pub use gelu::Gelu;
pub use gemm::{Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
pub use layer_norm::{AddTo, LayerNorm, LayerNormGradients, RowMoments};
