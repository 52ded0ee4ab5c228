//! The bits of products do not depend on the number of threads.

use super::{stored::Stored, values};
use crate::cpu::CpuDevice;
use crate::ops::{Arithmetic, Batches, Epilogue, Gemm, GemmShape, Matrix, MatrixMut};
use crate::storage::{DType, View, ViewMut};

/// Few rows (also of the transposed product), many, and more of all than one block has. Depths are of more than one step.
const SHAPES: [(usize, usize, usize); 4] = [(64, 900, 800), (900, 64, 800), (450, 1100, 400), (130, 140, 1200)];
const LAYOUTS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];
/// More than the machine may have, and such as cut blocks otherwise.
const THREADS: [usize; 3] = [2, 3, 7];

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            crate::threads::set_threads(threads).expect("a pool");
            work()
        });
        run.join().expect("no panic")
    })
}

fn matrix(data: View<'_>, rows: usize, columns: usize, transposed: bool) -> Matrix<'_> {
    if transposed { Matrix::row_major(data, rows).transposed() } else { Matrix::row_major(data, columns) }
}

fn assert_same(one: &[f32], many: &[f32], what: &dyn std::fmt::Debug) {
    let differs = one.iter().zip(many).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(differs, None, "the first element that differs, of {what:?}");
    assert_eq!(one.len(), many.len());
}

#[test]
fn of_products_in_all_layouts_also_accumulated_and_of_halves() {
    for (m, n, k) in SHAPES {
        let (a, b, before) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
        let halves = Stored::new(DType::BF16, &b);
        for (transpose_a, transpose_b) in LAYOUTS {
            use Arithmetic::{BFloat16, Float32};
            for (b, accumulate, arithmetic) in [
                (View::of(&b), false, Float32),
                (View::of(&b), true, Float32),
                (View::of(&b), true, BFloat16),
                (halves.view(), false, BFloat16),
            ] {
                let product = |threads: usize| {
                    on_threads(threads, || {
                        let mut c = before.clone();
                        let a = matrix(View::of(&a), m, k, transpose_a);
                        let b = matrix(b, k, n, transpose_b);
                        let to = MatrixMut { data: ViewMut::of(&mut c) };
                        let shape = GemmShape { m, n, k };
                        CpuDevice::default()
                            .gemm(arithmetic, shape, a, b, to, accumulate, Epilogue::default())
                            .expect("fits");
                        c
                    })
                };
                let one = product(1);
                for threads in THREADS {
                    let what = ((m, n, k), (transpose_a, transpose_b), b.dtype(), accumulate, arithmetic, threads);
                    assert_same(&one, &product(threads), &what);
                }
            }
        }
    }
}

#[test]
fn of_stacks_in_all_layouts() {
    for (m, n, k) in [(64, 300, 450), (300, 64, 450), (200, 600, 100)] {
        let (a, b) = (values(2 * m * k, 1), values(3 * k * n, 2));
        let (left, right) = ([1, 0, 1], [0, 2, 1]);
        for (transpose_a, transpose_b) in LAYOUTS {
            let product = |threads: usize| {
                on_threads(threads, || {
                    let mut c = vec![0.0_f32; 3 * m * n];
                    let batches = Batches { left_stride: m * k, right_stride: k * n, left: &left, right: &right };
                    let a = matrix(View::of(&a), m, k, transpose_a);
                    let b = matrix(View::of(&b), k, n, transpose_b);
                    let to = MatrixMut { data: ViewMut::of(&mut c) };
                    CpuDevice::default().batched_gemm(GemmShape { m, n, k }, batches, a, b, to).expect("fits");
                    c
                })
            };
            let one = product(1);
            assert!(one.iter().any(|&x| x != 0.0));
            for threads in THREADS {
                assert_same(&one, &product(threads), &((m, n, k), (transpose_a, transpose_b), threads));
            }
        }
    }
}
