//! The CPU: one file for each family of kernels.

mod attention;
mod binary;
#[cfg(test)]
mod binary_tests;
mod column_sums;
mod cross_entropy;
mod dropout;
mod elementwise;
mod embedding;
mod gelu;
mod gemm;
mod gradients;
mod layer_norm;
mod log_sum_exp;
pub mod math;
mod movement;
#[cfg(test)]
mod movement_tests;
mod optimizers;
mod reduce;
mod row_steps;
mod rows;
mod softmax;
mod strided;
#[cfg(test)]
pub(crate) mod testing;
mod unary;

pub use gelu::gelu;

use crate::device::Device;
use crate::memory::Pool;
use crate::{simd, threads};

/// This machine's CPU, with the vector instructions of [`simd::level`] and the calling thread's pool of threads.
#[derive(Clone, Default)]
pub struct CpuDevice {
    pool: Pool,
}

impl Device for CpuDevice {
    fn describe(&self) -> String {
        let threads = threads::thread_count();
        format!("{}, {threads} thread{}", simd::level().name(), if threads == 1 { "" } else { "s" })
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }
}
