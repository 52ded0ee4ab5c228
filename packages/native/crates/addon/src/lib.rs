//! The engine as a Node.js addon. JavaScript holds tensors as handles (small numbers); values cross only when they are read.
//!
//! Each family of kernels has a file here that turns handles into views and calls the device. Functions allocate their results and return
//! new handles, which JavaScript must `free`.

mod attention;
mod dropout;
mod elements;
mod elementwise;
mod embedding;
mod gelu;
mod gemm;
mod gradients;
mod layer_norm;
mod memory;
mod movement;
mod numbers;
mod optimizers;
mod program;
mod reduce;
mod sizes;
mod softmax;
mod tensors;
