//! The families of kernels that a device has, as traits: one file each. `cpu/` implements them, in files of the same names.

mod attention;
mod binary;
mod broadcast;
mod cross_entropy;
mod dropout;
mod embedding;
mod gelu;
mod gemm;
mod gradients;
mod layer_norm;
mod movement;
mod optimizers;
mod reduce;
mod softmax;
mod unary;

pub use attention::{AttentionInput, AttentionShape, BloomAttention};
pub use binary::{Binary, BinaryOp, CompareOp};
pub use broadcast::{Broadcast, Run};
pub use cross_entropy::{CrossEntropy, Logits, Targets};
pub use dropout::{Dropout, Dropping};
pub use embedding::Embedding;
pub use gelu::Gelu;
pub use gemm::{Arithmetic, Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
pub use gradients::Gradients;
pub use layer_norm::{AddTo, LayerNorm, LayerNormGradients, RowMoments};
pub use movement::{GatherShape, Movement, Region, Strided};
pub use optimizers::{AdamFactors, Optimizers, SgdFactors, VisitedRows};
pub use reduce::{Cumulation, Reduce, ReduceShape, Reduction};
pub use softmax::Softmax;
pub use unary::{Predicate, Unary, UnaryOp};
