//! Products of BLOOM-560m's shapes against the peak of this machine's multiply-adds, measured in the same run (the best of some rounds, of the clock on the wall):
//! `cargo run --release -p tensorloom-engine --example gemm_peak -- [threads [m [product|all [bf16]]]]`.

use std::cell::Cell;
use std::time::Instant;
use tensorloom_engine::cpu::CpuDevice;
use tensorloom_engine::memory::{Buffer, Kind};
use tensorloom_engine::ops::{Arithmetic, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use tensorloom_engine::simd::{self, Kernel, Simd};
use tensorloom_engine::{DType, Device, View, ViewMut, threads};

/// Sums that multiply-adds go to in turn: more than any CPU has in flight.
const SUMS: usize = 12;

/// Multiply-adds on registers.
struct Peak(usize);

impl Kernel for Peak {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut sums = [[1.0_f32; 8]; SUMS];
        let (a, b) = std::hint::black_box((0.999_f32, 1e-3_f32));
        for _ in 0..self.0 {
            for sum in &mut sums {
                for x in sum {
                    *x = a.mul_add(*x, b);
                }
            }
        }
        sums.iter().flatten().sum()
    }
}

/// The same in vectors of 16, which the compiler makes of the loop above only in part.
///
/// # Safety
/// The CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn peak_avx512(rounds: usize) -> f32 {
    use std::arch::x86_64::*;
    let mut sums = [_mm512_set1_ps(1.0); SUMS];
    let (a, b) = std::hint::black_box((_mm512_set1_ps(0.999), _mm512_set1_ps(1e-3)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(a, *sum, b);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

/// GFLOPS of all threads.
fn peak(thread_count: usize) -> f64 {
    let rounds = 200_000;
    let start = Instant::now();
    let wide = simd::level() >= Simd::Avx512 && simd::level() != Simd::Neon;
    threads::for_ranges(thread_count, 1, |_| {
        std::hint::black_box(match wide {
            // SAFETY: the level says so.
            #[cfg(target_arch = "x86_64")]
            true => unsafe { peak_avx512(rounds) },
            _ => simd::dispatch(Peak(rounds)),
        });
    });
    let width = if wide { 16 } else { 8 };
    (2 * SUMS * width * rounds * thread_count) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// Values in memory as tensors have it.
fn values(device: &CpuDevice, len: usize) -> Buffer {
    let buffer = device.allocate(len * 4, Kind::Tensor).expect("memory");
    for i in 0..len {
        // SAFETY: the buffer is ours and has room for so many floats.
        unsafe { *buffer.pointer().cast::<f32>().add(i) = ((i * 7919 % 1000) as f32 - 500.0) / 500.0 };
    }
    buffer
}

fn view(buffer: &Buffer) -> View<'_> {
    // SAFETY: filled with floats, and not written while it is read.
    unsafe { View::from_raw(buffer.pointer(), buffer.bytes() / 4, DType::F32) }
}

fn result(buffer: &Buffer) -> MatrixMut<'_> {
    // SAFETY: as above; the only view while it is written.
    MatrixMut { data: unsafe { ViewMut::from_raw(buffer.pointer(), buffer.bytes() / 4, DType::F32) } }
}

/// Times that each product is measured, in turns with the peak.
const ROUNDS: usize = 15;

/// Weights that products take turns with: together larger than any cache.
const WEIGHTS: usize = 12;

/// A product to be timed.
type Product<'a> = Box<dyn Fn() + 'a>;

fn main() {
    let thread_count = std::env::args().nth(1).and_then(|threads| threads.parse().ok()).unwrap_or(2);
    threads::set_threads(thread_count).expect("a pool");
    let device = CpuDevice::default();
    println!("{} threads, {}", thread_count, simd::level().name());
    let (k, n) = (1024, 4096);
    // As in a model, a product's weight (or the gradient it is added to) was not touched for a while: it comes from memory, not from a cache.
    let weights: Vec<Buffer> = (0..WEIGHTS).map(|_| values(&device, n * k)).collect();
    let turn = Cell::new(0);
    let next = || {
        turn.set((turn.get() + 1) % WEIGHTS);
        &weights[turn.get()]
    };
    let bias = values(&device, n);
    let arithmetic =
        if std::env::args().nth(4).as_deref() == Some("bf16") { Arithmetic::BFloat16 } else { Arithmetic::Float32 };
    let only: Option<usize> = std::env::args().nth(2).and_then(|m| m.parse().ok());
    let which = std::env::args().nth(3);
    for m in [64, 256, 1024] {
        if only.is_some_and(|only| only != m) {
            continue;
        }
        let (x, dy) = (values(&device, m * k), values(&device, m * n));
        let (y, dx) = (values(&device, m * n), values(&device, m * k));
        let flops = 2.0 * (m * n * k) as f64;
        let gemm = |m: usize,
                    n: usize,
                    k: usize,
                    a: Matrix<'_>,
                    b: Matrix<'_>,
                    c: &Buffer,
                    accumulate: bool,
                    epilogue: Epilogue<'_>| {
            device.gemm(arithmetic, GemmShape { m, n, k }, a, b, result(c), accumulate, epilogue).expect("fits");
        };
        let row = |buffer, columns| Matrix::row_major(view(buffer), columns);
        let none = Epilogue::default();
        let with_bias = Epilogue { bias: Some(view(&bias)), gelu: true, ..none };
        let products: [(&str, Product<'_>); 6] = [
            ("x W^T", Box::new(|| gemm(m, n, k, row(&x, k), row(next(), k).transposed(), &y, false, none))),
            (
                "gelu(x W^T+b)",
                Box::new(|| gemm(m, n, k, row(&x, k), row(next(), k).transposed(), &y, false, with_bias)),
            ),
            ("y W'^T", Box::new(|| gemm(m, k, n, row(&dy, n), row(next(), n).transposed(), &dx, false, none))),
            ("dy W", Box::new(|| gemm(m, k, n, row(&dy, n), row(next(), k), &dx, false, none))),
            ("dy^T x", Box::new(|| gemm(n, k, m, row(&dy, n).transposed(), row(&x, k), next(), false, none))),
            ("+= dy^T x", Box::new(|| gemm(n, k, m, row(&dy, n).transposed(), row(&x, k), next(), true, none))),
        ];
        for (name, product) in &products {
            if which.as_ref().is_some_and(|which| which != "all" && which != name) {
                continue;
            }
            let repeats = (2e10 / flops).ceil() as usize;
            let (mut top, mut gflops) = (0.0_f64, Vec::new());
            for _ in 0..ROUNDS {
                top = top.max(peak(thread_count));
                let start = Instant::now();
                (0..repeats).for_each(|_| product());
                gflops.push(flops * repeats as f64 / start.elapsed().as_secs_f64() / 1e9);
            }
            gflops.sort_by(f64::total_cmp);
            let (median, best) = (gflops[ROUNDS / 2], gflops[ROUNDS - 1]);
            println!(
                "m {m:5}  {name:12} {best:6.1} of {top:6.1} GFLOPS: {:3.0} % (median {:3.0} %)",
                100.0 * best / top,
                100.0 * median / top
            );
        }
    }
}
