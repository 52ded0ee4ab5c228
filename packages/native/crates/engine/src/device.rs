//! What a device must be able to do.

use crate::error::Result;
use crate::memory::{Buffer, Kind, Pool};
use crate::ops::{
    Binary, BloomAttention, CrossEntropy, Dropout, Embedding, Gelu, Gemm, Gradients, LayerNorm, Movement, Optimizers,
    Reduce, Softmax, Unary,
};

/// A place where tensors live and kernels run. The addon knows devices by this trait only, so that another one (CUDA) can
/// be added beside [`crate::cpu`] without a change to what calls it.
pub trait Device:
    Send
    + Sync
    + Binary
    + BloomAttention
    + CrossEntropy
    + Dropout
    + Embedding
    + Gelu
    + Gemm
    + Gradients
    + LayerNorm
    + Movement
    + Optimizers
    + Reduce
    + Softmax
    + Unary
{
    /// For people: the instructions it uses and its threads.
    fn describe(&self) -> String;

    /// The pool that its buffers come from.
    fn pool(&self) -> &Pool;

    /// A buffer whose contents are whatever was there before.
    ///
    /// # Errors
    /// If there is no memory left.
    fn allocate(&self, bytes: usize, kind: Kind) -> Result<Buffer> {
        self.pool().allocate(bytes, kind)
    }

    /// A buffer of zeros, whose pages take memory once they are written.
    ///
    /// # Errors
    /// If there is no memory left.
    fn allocate_zeroed(&self, bytes: usize, kind: Kind) -> Result<Buffer> {
        self.pool().allocate_zeroed(bytes, kind)
    }
}
