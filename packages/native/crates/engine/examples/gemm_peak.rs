//! Products of BLOOM-560m's shapes against the peak of this machine's multiply-adds, measured in the same run:
//! `cargo run --release -p tensorloom-engine --example gemm_peak -- [threads]`.

use tensorloom_engine::cpu::CpuDevice;
use tensorloom_engine::ops::{Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use tensorloom_engine::simd::{self, Kernel};
use tensorloom_engine::{View, ViewMut, threads};

/// Seconds of CPU time of all threads of this process: on a busy machine they say more than the clock on the wall.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it fills in the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
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

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 % 1000) as f32 - 500.0) / 500.0).collect()
}

fn main() {
    let thread_count = std::env::args().nth(1).and_then(|threads| threads.parse().ok()).unwrap_or(2);
    threads::set_threads(thread_count).expect("a pool");
    let device = CpuDevice::default();
    println!("{} threads, {}", thread_count, simd::level().name());
    let (k, n) = (1024, 4096);
    let weight = values(n * k);
    for m in [64, 256, 1024] {
        let (x, dy) = (values(m * k), values(m * n));
        let mut y = vec![0.0_f32; m * n];
        let mut dx = vec![0.0_f32; m * k];
        let mut dw = vec![0.0_f32; n * k];
        let flops = 2.0 * (m * n * k) as f64;
        let row = Matrix::row_major;
        let mut products: [(&str, Box<dyn FnMut()>); 5] = [
            (
                "x W^T + b",
                Box::new(|| {
                    let epilogue = Epilogue { bias: Some(View::of(&weight[..n])), ..Epilogue::default() };
                    let (x, w) = (row(View::of(&x), k), row(View::of(&weight), k).transposed());
                    device
                        .gemm(GemmShape { m, n, k }, x, w, MatrixMut { data: ViewMut::of(&mut y) }, false, epilogue)
                        .expect("fits");
                }),
            ),
            (
                "dy W",
                Box::new(|| {
                    let (dy, w) = (row(View::of(&dy), n), row(View::of(&weight), k));
                    device
                        .gemm(
                            GemmShape { m, n: k, k: n },
                            dy,
                            w,
                            MatrixMut { data: ViewMut::of(&mut dx) },
                            false,
                            Epilogue::default(),
                        )
                        .expect("fits");
                }),
            ),
            (
                "dy^T x",
                Box::new({
                    let dw = ViewMut::of(&mut dw);
                    let mut dw = dw;
                    let (dy, x, device) = (&dy, &x, &device);
                    move || {
                        let (dy, x) = (row(View::of(dy), n).transposed(), row(View::of(x), k));
                        device
                            .gemm(
                                GemmShape { m: n, n: k, k: m },
                                dy,
                                x,
                                MatrixMut { data: dw.reborrow() },
                                false,
                                Epilogue::default(),
                            )
                            .expect("fits");
                    }
                }),
            ),
            (
                "dy^T x, +=",
                Box::new(|| {
                    let mut dw2 = DW.lock().expect("one thread");
                    dw2.resize(n * k, 0.0);
                    let (dy, x) = (row(View::of(&dy), n).transposed(), row(View::of(&x), k));
                    device
                        .gemm(
                            GemmShape { m: n, n: k, k: m },
                            dy,
                            x,
                            MatrixMut { data: ViewMut::of(&mut dw2[..]) },
                            true,
                            Epilogue::default(),
                        )
                        .expect("fits");
                }),
            ),
            (
                "y W'^T",
                Box::new(|| {
                    let mut out = OUT.lock().expect("one thread");
                    out.resize(m * k, 0.0);
                    let (y, w) = (row(View::of(&dy), n), row(View::of(&weight), n).transposed());
                    device
                        .gemm(
                            GemmShape { m, n: k, k: n },
                            y,
                            w,
                            MatrixMut { data: ViewMut::of(&mut out[..]) },
                            false,
                            Epilogue::default(),
                        )
                        .expect("fits");
                }),
            ),
        ];
        for (name, product) in &mut products {
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

static DW: std::sync::Mutex<Vec<f32>> = std::sync::Mutex::new(Vec::new());
static OUT: std::sync::Mutex<Vec<f32>> = std::sync::Mutex::new(Vec::new());
