//! A transformer block as one program: BLOOM's block, forward and backward, each in one call.
//!
//! `middle = drop(dense(attention(qkv(norm1(x))))) + x`, then `drop(down(gelu(up(norm2(middle))))) + middle`; residuals are what the norms
//! return instead of what they are given where the model says so.
//!
//! # What is kept for backward
//! For each token, with `h` the width, `i` the inner width (4h) and `s` the bytes of a stored activation (4, or 2 of halves):
//!
//! | kept | bytes | why |
//! |---|---|---|
//! | x | (the caller's: the previous block's result) | input of the first norm, residual |
//! | qkv | 3hs | attention's gradient needs all three; again it would cost a product |
//! | context | hs | input of `dense`; again it would cost attention |
//! | middle | hs | input of the second norm; again it would cost a product |
//! | up | is | GELU's input, from which its output and slope follow; again it would cost a product |
//! | moments of both norms | 16 | with them a norm's output is one pass over its input |
//! | log-sum-exp | 4 for each head | attention's probabilities follow from it and qkv |
//!
//! That is (5h + i)s = 9hs, 36 KB of float32 for each token where h is 1,024. Not kept are the outputs of both norms (2hs) and of GELU (is), which
//! are computed again in passes that cost no product: op by op they make it 15hs. With activation checkpointing nothing but x is kept, and
//! backward runs the whole forward again.
//!
//! # Memory while it runs
//! Everything else lies in one workspace, which all blocks and steps share. It is planned for a number of tokens that is rounded up
//! ([`bucket`]), and so is what is kept, so that blocks of memory are used again by batches of about the same length. Gradients of
//! parameters are added where they accumulate; there are none of a single micro-batch.

mod backward;
mod block;
mod forward;
mod plan;
mod slab;

pub use backward::backward;
pub use block::{Affine, Block, BlockInput, BlockSpec, Target};
pub use forward::{Keep, forward};
pub use plan::{bucket, kept_bytes};
pub use slab::{Slab, Workspace};

#[cfg(test)]
mod tests;
