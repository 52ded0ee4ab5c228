//! Cross-entropy and its gradient against plain loops in double precision.

use crate::cpu::CpuDevice;
use crate::cpu::testing::{STORAGES, Stored, assert_close, tolerance, values};
use crate::ops::{CrossEntropy, Logits, Targets};
use crate::simd::testing::at_each_level;
use crate::{DType, View, ViewMut};

const IGNORED: i32 = -100;

fn check(rows: usize, classes: usize, dtype: DType) {
    let what = format!("{rows} x {classes}, {dtype:?}");
    let logits = Stored::new(&values(rows * classes, 3).iter().map(|x| x * 6.0).collect::<Vec<_>>(), dtype);
    let labels: Vec<i32> =
        (0..rows).map(|row| if row % 3 == 1 { IGNORED } else { (row * 7919 % classes) as i32 }).collect();
    let items = labels.iter().filter(|&&label| label != IGNORED).count() as f32;
    let targets = Targets { labels: View::of(&labels), ignore_index: IGNORED, items };
    let (mut loss, mut log_sum_exp) = ([f32::NAN], vec![f32::NAN; rows]);
    let device = CpuDevice::default();
    device
        .cross_entropy(logits.view(), targets, ViewMut::of(&mut loss), ViewMut::of(&mut log_sum_exp))
        .expect("operands fit");

    let (mut total, mut expected) = (0.0, vec![0.0; rows * classes]);
    let weight = f64::from(2.5 / items.max(1.0));
    for (row, (logits, &label)) in logits.values().chunks(classes).zip(&labels).enumerate() {
        if label == IGNORED {
            continue;
        }
        let log_sum_exp = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
        total += log_sum_exp - logits[label as usize];
        for class in 0..classes {
            let hit = if class == label as usize { 1.0 } else { 0.0 };
            expected[row * classes + class] = ((logits[class] - log_sum_exp).exp() - hit) * weight;
        }
    }
    assert_close(&[f64::from(loss[0])], &[total / f64::from(items.max(1.0))], 1e-6, &what);

    let mut gradient = vec![f32::NAN; rows * classes];
    let kept = View::of(&log_sum_exp);
    device
        .cross_entropy_grad(
            View::of(&[2.5f32]),
            Logits::Apart(logits.view()),
            targets,
            kept,
            ViewMut::of(&mut gradient),
        )
        .expect("operands fit");
    let wide: Vec<f64> = gradient.iter().map(|&x| f64::from(x)).collect();
    assert_close(&wide, &expected, 2e-6, &what);

    let mut overwritten = logits;
    device
        .cross_entropy_grad(View::of(&[2.5f32]), Logits::InGradient, targets, kept, overwritten.view_mut())
        .expect("operands fit");
    assert_close(&overwritten.values(), &expected, tolerance(dtype, 2e-6), &format!("in place, {what}"));
}

#[test]
fn gives_loss_and_gradient_for_few_and_many_classes_in_every_storage_at_every_level() {
    at_each_level(|_| {
        for dtype in STORAGES {
            for (rows, classes) in [(1, 1), (1, 2), (7, 33), (33, 7), (3, 1023), (1023, 5)] {
                check(rows, classes, dtype);
            }
        }
    });
}

#[test]
fn a_vocabulary_of_250_880_is_no_trouble() {
    check(3, 250_880, DType::F32);
    check(2, 250_880, DType::BF16);
}

#[test]
fn without_rows_that_count_loss_and_gradient_are_zero() {
    let targets = Targets { labels: View::of(&[IGNORED; 2]), ignore_index: IGNORED, items: 0.0 };
    let logits = [f32::INFINITY, f32::NAN, 1.0, 2.0];
    let (mut loss, mut kept, mut gradient) = ([f32::NAN], [f32::NAN; 2], [f32::NAN; 4]);
    let device = CpuDevice::default();
    device
        .cross_entropy(View::of(&logits), targets, ViewMut::of(&mut loss), ViewMut::of(&mut kept))
        .expect("operands fit");
    device
        .cross_entropy_grad(
            View::of(&[1.0f32]),
            Logits::Apart(View::of(&logits)),
            targets,
            View::of(&kept),
            ViewMut::of(&mut gradient),
        )
        .expect("operands fit");
    assert_eq!((loss, gradient), ([0.0], [0.0; 4]));
}

#[test]
fn labels_out_of_range_are_refused() {
    for label in [-1, 3] {
        let labels = [0, label];
        let targets = Targets { labels: View::of(&labels), ignore_index: IGNORED, items: 2.0 };
        let result = CpuDevice::default().cross_entropy(
            View::of(&[0.0f32; 6]),
            targets,
            ViewMut::of(&mut [0.0f32]),
            ViewMut::of(&mut [0.0f32; 2]),
        );
        let message = result.expect_err("no such class").to_string();
        assert!(message.contains(&format!("label {label}")) && message.contains("3 classes"), "{message}");
    }
}
