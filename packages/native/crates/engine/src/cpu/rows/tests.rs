//! How rows are cut, and that the number of threads changes no bit.

use super::*;
use crate::cpu::CpuDevice;
use crate::cpu::testing::values;
use crate::ops::{
    AddTo, CrossEntropy, LayerNorm, LayerNormGradients, Logits, Reduce, ReduceShape, Reduction, RowMoments, Softmax,
    Targets,
};
use crate::threads::set_threads;
use crate::{View, ViewMut};
use proptest::prelude::*;

proptest! {
    #[test]
    fn tiles_and_blocks_cover_every_element_once(rows in 0usize..40, width in 1usize..70_000) {
        let tiles = Tiles::new(rows, width);
        let mut next = 0;
        for tile in 0..tiles.count {
            let (row, elements) = tiles.get(tile);
            for block in blocks(elements, 1) {
                prop_assert_eq!(block.start, next);
                prop_assert!(!block.is_empty() && block.len() <= BLOCK);
                prop_assert!(block.start >= row * width && block.end <= (row + 1) * width);
                next = block.end;
            }
        }
        prop_assert_eq!(next, rows * width);
    }
}

/// What kernels with sums give, as bits, on so many threads.
fn bits(threads: usize) -> Vec<u32> {
    set_threads(threads).expect("the first call of this thread");
    let device = CpuDevice::default();
    let (rows, width) = (200, 333);
    let x = values(rows * width, 1);
    let dy = values(rows * width, 2);
    let (weight, bias) = (values(width, 3), values(width, 4));
    let mut results = vec![];
    let (mut y, mut mean, mut inverse) = (vec![0.0f32; rows * width], vec![0.0f32; rows], vec![0.0f32; rows]);
    let (of_mean, of_inverse) = (ViewMut::of(&mut mean), ViewMut::of(&mut inverse));
    let (x_view, weight_view) = (View::of(&x), View::of(&weight));
    device
        .layer_norm(1e-5, x_view, weight_view, View::of(&bias), ViewMut::of(&mut y), of_mean, of_inverse)
        .expect("operands fit");
    results.extend_from_slice(&y);
    let (mut d_weight, mut d_bias) = (vec![0.0f32; width], vec![0.0f32; width]);
    let gradients = LayerNormGradients {
        x: ViewMut::of(&mut y),
        weight: ViewMut::of(&mut d_weight),
        bias: ViewMut::of(&mut d_bias),
    };
    let moments = RowMoments { mean: View::of(&mean), inverse_deviation: View::of(&inverse) };
    device
        .layer_norm_grad(View::of(&dy), x_view, weight_view, moments, gradients, AddTo::default())
        .expect("operands fit");
    results.extend(y.iter().chain(&d_weight).chain(&d_bias));

    let long = values(2 * 100_000, 5);
    let mut output = vec![0.0f32; long.len()];
    device.softmax(100_000, View::of(&long), ViewMut::of(&mut output)).expect("operands fit");
    results.extend_from_slice(&output);
    let labels = [7, 99_999];
    let targets = Targets { labels: View::of(&labels), ignore_index: -100, items: 2.0 };
    let (mut loss, mut kept) = ([0.0f32], [0.0f32; 2]);
    device
        .cross_entropy(View::of(&long), targets, ViewMut::of(&mut loss), ViewMut::of(&mut kept))
        .expect("operands fit");
    let logits = Logits::Apart(View::of(&long));
    device
        .cross_entropy_grad(View::of(&[1.0f32]), logits, targets, View::of(&kept), ViewMut::of(&mut output))
        .expect("operands fit");
    results.extend(loss.iter().chain(&kept).chain(&output));
    for (outer, reduced, inner) in [(2, 100_000, 1), (1, 400, 500)] {
        let shape = ReduceShape { outer, reduced, inner };
        let mut sums = vec![0.0f32; outer * inner];
        device.reduce(Reduction::Sum, shape, 1.0, View::of(&long), ViewMut::of(&mut sums)).expect("operands fit");
        results.extend_from_slice(&sums);
    }
    results.into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let on = |threads| std::thread::spawn(move || bits(threads)).join().expect("no panic");
    let one = on(1);
    assert!(one == on(2) && one == on(3));
}
