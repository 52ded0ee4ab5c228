//! Products of BLOOM-560m's shapes against the peak of this machine's multiply-adds, measured in the same run:
//! `cargo run --release -p tensorloom-engine --example gemm_peak -- [threads [m]]`.

use tensorloom_engine::cpu::CpuDevice;
use tensorloom_engine::memory::{Buffer, Kind};
use tensorloom_engine::ops::{Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use tensorloom_engine::simd::{self, Kernel};
use tensorloom_engine::{DType, Device, View, ViewMut, threads};

/// Seconds of CPU time of all threads of this process: on a busy machine they say more than the clock on the wall.
#[cfg(unix)]
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it fills in the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Where the system has no such clock: of the wall, as if all threads were at work.
#[cfg(not(unix))]
fn cpu_seconds() -> f64 {
    use std::sync::OnceLock;
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64() * threads::thread_count() as f64
}

const LANES: usize = 8;

/// Multiply-adds on registers: more of them at once than any CPU has in flight.
struct Peak<const WIDTH: usize>(usize);

impl<const WIDTH: usize> Kernel for Peak<WIDTH> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut sums = [[1.0_f32; WIDTH]; LANES + 4];
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

/// GFLOPS of all threads.
fn peak(thread_count: usize) -> f64 {
    let rounds = 200_000;
    let start = cpu_seconds();
    let width = if simd::level() >= simd::Simd::Avx512 { 16 } else { 8 };
    threads::for_ranges(thread_count, 1, |_| {
        if width == 16 {
            std::hint::black_box(simd::dispatch(Peak::<16>(rounds)));
        } else {
            std::hint::black_box(simd::dispatch(Peak::<8>(rounds)));
        }
    });
    (2 * (LANES + 4) * width * rounds * thread_count) as f64 / ((cpu_seconds() - start) / thread_count as f64) / 1e9
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

/// A product to be timed.
type Product<'a> = Box<dyn Fn() + 'a>;

fn main() {
    let thread_count = std::env::args().nth(1).and_then(|threads| threads.parse().ok()).unwrap_or(2);
    threads::set_threads(thread_count).expect("a pool");
    let device = CpuDevice::default();
    println!("{} threads, {}", thread_count, simd::level().name());
    let (k, n) = (1024, 4096);
    let weight = values(&device, n * k);
    let bias = values(&device, n);
    let only: Option<usize> = std::env::args().nth(2).and_then(|m| m.parse().ok());
    for m in [64, 256, 1024] {
        if only.is_some_and(|only| only != m) {
            continue;
        }
        let (x, dy) = (values(&device, m * k), values(&device, m * n));
        let (y, dx, dw) = (values(&device, m * n), values(&device, m * k), values(&device, n * k));
        let flops = 2.0 * (m * n * k) as f64;
        let gemm = |m: usize,
                    n: usize,
                    k: usize,
                    a: Matrix<'_>,
                    b: Matrix<'_>,
                    c: &Buffer,
                    accumulate: bool,
                    epilogue: Epilogue<'_>| {
            device.gemm(GemmShape { m, n, k }, a, b, result(c), accumulate, epilogue).expect("fits");
        };
        let row = |buffer, columns| Matrix::row_major(view(buffer), columns);
        let none = Epilogue::default();
        let with_bias = Epilogue { bias: Some(view(&bias)), gelu: true, ..none };
        let products: [(&str, Product<'_>); 6] = [
            ("x W^T", Box::new(|| gemm(m, n, k, row(&x, k), row(&weight, k).transposed(), &y, false, none))),
            (
                "gelu(x W^T+b)",
                Box::new(|| gemm(m, n, k, row(&x, k), row(&weight, k).transposed(), &y, false, with_bias)),
            ),
            ("y W'^T", Box::new(|| gemm(m, k, n, row(&dy, n), row(&weight, n).transposed(), &dx, false, none))),
            ("dy W", Box::new(|| gemm(m, k, n, row(&dy, n), row(&weight, k), &dx, false, none))),
            ("dy^T x", Box::new(|| gemm(n, k, m, row(&dy, n).transposed(), row(&x, k), &dw, false, none))),
            ("+= dy^T x", Box::new(|| gemm(n, k, m, row(&dy, n).transposed(), row(&x, k), &dw, true, none))),
        ];
        for (name, product) in &products {
            let mut measured: Vec<_> = (0..21)
                .map(|_| {
                    let before = peak(thread_count);
                    let repeats = (3e8 / flops).ceil() as usize;
                    let start = cpu_seconds();
                    (0..repeats).for_each(|_| product());
                    let seconds = (cpu_seconds() - start) / (repeats * thread_count) as f64;
                    let top = (before + peak(thread_count)) / 2.0;
                    let gflops = flops / seconds / 1e9;
                    (gflops / top, gflops, top)
                })
                .collect();
            measured.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (share, gflops, top) = measured[measured.len() / 2];
            let best = 100.0 * measured[measured.len() - 3].0;
            println!(
                "m {m:5}  {name:12} {gflops:7.1} of {top:6.1} GFLOPS: {:4.0} % (median; upper decile {best:.0} %)",
                100.0 * share
            );
        }
    }
}
