//! Steps on rows against steps on whole tables with gradients of zeros in the other rows: the same to the last bit.

use super::*;
use crate::ops::Optimizers;
use crate::threads::set_threads;
use proptest::prelude::*;

const ADAM: AdamFactors = AdamFactors {
    gradient_scale: 0.5,
    coupled_decay: 0.0,
    first_share: 0.1,
    second_kept: 0.99,
    second_share: 0.01,
    value_kept: 1.0,
    rate: 0.01,
    epsilon: 1e-6,
};
const SGD: SgdFactors = SgdFactors {
    gradient_scale: 1.0,
    weight_decay: 0.0,
    momentum: 0.9,
    gradient_share: 1.0,
    rate: 0.1,
    nesterov: false,
};

/// A table and a gradient of some rows, as drawn.
#[derive(Debug, Clone)]
struct Case {
    width: usize,
    table: Vec<f32>,
    /// Visited rows in no order, with the place of each row's gradient.
    rows: Vec<i32>,
    offsets: Vec<i32>,
    gradients: Vec<f32>,
}

fn cases() -> impl Strategy<Value = Case> {
    let widths = prop_oneof![Just(1_usize), Just(7), Just(33), Just(64), Just(1023)];
    (widths, 1_usize..40).prop_flat_map(|(width, count)| {
        let order = Just((0..count as i32).collect::<Vec<_>>()).prop_shuffle();
        (order, 0..=count, 0..=count, any::<u32>()).prop_map(move |(order, a, b, seed)| {
            let (visited, with_gradient) = (a.max(b), a.min(b));
            let number = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8e6 - 1.0;
            Case {
                width,
                table: (0..count * width).map(number).collect(),
                rows: order[..visited].to_vec(),
                offsets: (0..visited)
                    .map(|k| if k < with_gradient { ((with_gradient - 1 - k) * width) as i32 } else { -1 })
                    .collect(),
                gradients: (0..with_gradient * width).map(|i| number(i + 7)).collect(),
            }
        })
    })
}

impl Case {
    fn visited(&self) -> VisitedRows<'_> {
        VisitedRows { rows: &self.rows, offsets: &self.offsets, width: self.width }
    }

    /// Rows at their places in a table of the whole size, zeros elsewhere.
    fn spread(&self, rows: &[f32], place: impl Fn(usize) -> i32) -> Vec<f32> {
        let mut whole = vec![0.0; self.table.len()];
        for k in 0..self.rows.len() {
            if let Ok(from) = usize::try_from(place(k)) {
                whole[row_range(self.visited(), k)].copy_from_slice(&rows[from..from + self.width]);
            }
        }
        whole
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn adam_on_rows_is_adam_on_the_whole_table(case in cases()) {
        let device = CpuDevice::default();
        let size = case.rows.len() * case.width;
        let (mut first, mut second) = (vec![0.0_f32; size], vec![0.0_f32; size]);
        let (mut table, mut whole) = (case.table.clone(), case.table.clone());
        let gradient = case.spread(&case.gradients, |k| case.offsets[k]);
        let (mut whole_first, mut whole_second) = (vec![0.0_f32; whole.len()], vec![0.0_f32; whole.len()]);
        let factors = AdamFactors { value_kept: 0.9, ..ADAM };
        for _ in 0..3 {
            device.adam_rows(
                ViewMut::of(&mut table), View::of(&case.gradients), ViewMut::of(&mut first), ViewMut::of(&mut second),
                case.visited(), factors,
            ).expect("a step");
            device.adam_step(
                ViewMut::of(&mut whole), View::of(&gradient), ViewMut::of(&mut whole_first), ViewMut::of(&mut whole_second),
                factors,
            ).expect("a step");
        }
        prop_assert_eq!(&table, &whole);
        prop_assert_eq!(case.spread(&first, |k| (k * case.width) as i32), whole_first);
        prop_assert_eq!(case.spread(&second, |k| (k * case.width) as i32), whole_second);
    }

    #[test]
    fn gradient_descent_on_rows_is_that_on_the_whole_table(case in cases(), with_momentum: bool, nesterov: bool) {
        let device = CpuDevice::default();
        let factors = SgdFactors { nesterov, ..SGD };
        let mut buffer = vec![0.0_f32; case.rows.len() * case.width];
        let (mut table, mut whole) = (case.table.clone(), case.table.clone());
        let gradient = case.spread(&case.gradients, |k| case.offsets[k]);
        let mut whole_buffer = vec![0.0_f32; whole.len()];
        for _ in 0..3 {
            let momentum = with_momentum.then(|| ViewMut::of(&mut buffer));
            device.sgd_rows(ViewMut::of(&mut table), View::of(&case.gradients), momentum, case.visited(), factors)
                .expect("a step");
            let momentum = with_momentum.then(|| ViewMut::of(&mut whole_buffer));
            device.sgd_step(ViewMut::of(&mut whole), View::of(&gradient), momentum, factors).expect("a step");
        }
        prop_assert_eq!(&table, &whole);
        prop_assert_eq!(case.spread(&buffer, |k| (k * case.width) as i32), whole_buffer);
    }
}

#[test]
fn rows_out_of_range_or_given_twice_are_refused() {
    let device = CpuDevice::default();
    let step = |rows: &[i32], offsets: &[i32]| {
        let (mut table, mut first, mut second) = ([0.0_f32; 6], [0.0_f32; 4], [0.0_f32; 4]);
        let visited = VisitedRows { rows, offsets, width: 2 };
        device
            .adam_rows(
                ViewMut::of(&mut table),
                View::of(&[1.0_f32, 2.0]),
                ViewMut::of(&mut first),
                ViewMut::of(&mut second),
                visited,
                ADAM,
            )
            .map_err(|error| error.to_string())
    };
    assert_eq!(step(&[2, 0], &[0, -1]), Ok(()));
    assert_eq!(step(&[1, 1], &[0, -1]), Err("Row 1 comes twice.".into()));
    assert_eq!(step(&[3, 1], &[0, -1]), Err("There is no row 3; there are 3.".into()));
    assert_eq!(step(&[-1, 1], &[0, -1]), Err("There is no row -1; there are 3.".into()));
    assert!(step(&[0, 1], &[1, -1]).is_err_and(|error| error.contains("cannot begin at element 1 of 2")));
    assert!(step(&[0, 1, 2], &[0, -1, -1]).is_err_and(|error| error.contains("moments")));
}

#[test]
fn rows_get_the_same_bits_with_one_thread_and_two() {
    let run = |threads: usize| {
        std::thread::spawn(move || {
            set_threads(threads).expect("threads");
            let (count, width) = (500_usize, 129_usize);
            let rows: Vec<i32> = (0..count as i32).rev().step_by(2).collect();
            let offsets: Vec<i32> = (0..rows.len()).map(|k| if k % 3 == 0 { -1 } else { (k * width) as i32 }).collect();
            let mut table: Vec<f32> = (0..count * width).map(|i| (i % 1013) as f32 / 1013.0).collect();
            let gradients: Vec<f32> = (0..rows.len() * width).map(|i| (i % 911) as f32 / 911.0 - 0.5).collect();
            let (mut first, mut second) = (vec![0.01_f32; gradients.len()], vec![0.02_f32; gradients.len()]);
            CpuDevice::default()
                .adam_rows(
                    ViewMut::of(&mut table),
                    View::of(&gradients),
                    ViewMut::of(&mut first),
                    ViewMut::of(&mut second),
                    VisitedRows { rows: &rows, offsets: &offsets, width },
                    AdamFactors { value_kept: 0.99, ..ADAM },
                )
                .expect("a step");
            [table, first, second].concat()
        })
        .join()
        .expect("a run")
    };
    assert!(run(1) == run(2));
}
