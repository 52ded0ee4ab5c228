//! The families of kernels that a device has, as traits: one file each. `cpu/` implements them, in files of the same names.

mod gemm;

pub use gemm::{Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
