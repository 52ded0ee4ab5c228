//! Operands of a block, and a run of both directions on them.

use super::reference::Reference;
use crate::cpu::CpuDevice;
use crate::cpu::testing::{Stored, values};
use crate::memory::Kind;
use crate::ops::Dropping;
use crate::program::{Block, BlockInput, BlockSpec, Keep, Slab, Target, Workspace, backward, forward, kept_bytes};
use crate::{DType, Device, View, ViewMut};

pub const PARAMETERS: usize = 12;

#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub batch: usize,
    pub seq: usize,
    pub heads: usize,
    pub dim: usize,
    pub after_norm: bool,
    pub storage: DType,
    pub dropping: f64,
    /// Tokens of padding at the beginning of the first sequence; negative at its end.
    pub padding: i32,
}

pub const SMALL: Case =
    Case { batch: 2, seq: 7, heads: 3, dim: 4, after_norm: false, storage: DType::F32, dropping: 0.0, padding: 2 };

pub struct Operands {
    pub case: Case,
    pub hidden: Stored,
    pub mask: Vec<i32>,
    pub parameters: Vec<Vec<f32>>,
    pub slopes: Vec<f32>,
    pub output_gradient: Vec<f32>,
}

impl Operands {
    pub fn of(case: Case) -> Self {
        let width = case.heads * case.dim;
        let tokens = case.batch * case.seq;
        let weight = |outputs: usize, inputs: usize, seed| {
            values(outputs * inputs, seed).iter().map(|x| x / (inputs as f32).sqrt()).collect::<Vec<_>>()
        };
        let vector = |len, mean: f32, seed| values(len, seed).iter().map(|x| mean + 0.2 * x).collect::<Vec<_>>();
        let mask = (0..tokens as i32).map(|i| {
            let (row, column, seq) = (i / case.seq as i32, i % case.seq as i32, case.seq as i32);
            let padded = if case.padding < 0 { column >= seq + case.padding } else { column < case.padding };
            i32::from(row > 0 || !padded)
        });
        let mask: Vec<i32> = mask.collect();
        let mut output_gradient = values(tokens * width, 60);
        // A query without visible keys has a gradient by convention, not by its definition: nothing depends on those here.
        for (row, _) in output_gradient.chunks_mut(width).zip(&mask).filter(|(_, m)| **m == 0) {
            row.fill(0.0);
        }
        Self {
            case,
            hidden: Stored::new(&values(tokens * width, 50), case.storage),
            mask,
            parameters: vec![
                vector(width, 1.0, 1),
                vector(width, 0.0, 2),
                weight(3 * width, width, 3),
                vector(3 * width, 0.0, 4),
                weight(width, width, 5),
                vector(width, 0.0, 6),
                vector(width, 1.0, 7),
                vector(width, 0.0, 8),
                weight(4 * width, width, 9),
                vector(4 * width, 0.0, 10),
                weight(width, 4 * width, 11),
                vector(width, 0.0, 12),
            ],
            slopes: (0..case.heads).map(|head| 0.5f32.powi(head as i32 + 1)).collect(),
            output_gradient,
        }
    }

    pub fn spec(&self) -> BlockSpec<'_> {
        let dropping = |seed| Dropping { rate: self.case.dropping, seed };
        BlockSpec {
            epsilon: 1e-5,
            residual_after_norm: self.case.after_norm,
            slopes: &self.slopes,
            attention_dropping: dropping(1),
            hidden_droppings: [dropping(2), dropping(3)],
            storage: self.case.storage,
        }
    }

    pub fn weights(&self) -> Block<View<'_>> {
        Block::from_list(std::array::from_fn(|i| View::of(&self.parameters[i])))
    }

    pub fn input(&self) -> BlockInput<'_> {
        BlockInput {
            hidden: self.hidden.view(),
            mask: View::of(&self.mask),
            batch: self.case.batch,
            seq: self.case.seq,
        }
    }

    pub fn reference(&self) -> Reference {
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        Reference {
            parameters: self.parameters.iter().map(|p| wide(p)).collect(),
            slopes: wide(&self.slopes),
            epsilon: 1e-5,
            after_norm: self.case.after_norm,
            batch: self.case.batch,
            seq: self.case.seq,
            mask: self.mask.clone(),
        }
    }

    /// Runs both directions. `times` are micro-batches, `wanted` tells which parameters have a gradient.
    pub fn run(&self, keeps: bool, times: usize, wanted: impl Fn(usize) -> bool) -> Run {
        let device = CpuDevice::default();
        let mut workspace = Workspace::default();
        let (spec, weights, input) = (self.spec(), self.weights(), self.input());
        let len = self.hidden.view().len();
        let mut output = Stored::new(&vec![f32::NAN; len], self.case.storage);
        let mut gradients: Vec<Vec<f32>> = self.parameters.iter().map(|p| vec![f32::NAN; p.len()]).collect();
        let mut hidden_gradient = vec![f32::NAN; len];
        for time in 0..times {
            let bytes =
                kept_bytes(input.tokens(), weights.width(), weights.inner(), self.case.heads, self.case.storage)
                    .expect("small");
            let buffer = device.allocate(bytes, Kind::Tensor).expect("there is memory");
            // SAFETY: the buffer is ours and lives until the end of this turn; forward and backward have it one after the other.
            let slab = || unsafe { Slab::from_raw(buffer.pointer(), buffer.bytes()) };
            let keep = if keeps { Keep::Here(slab()) } else { Keep::Not };
            forward(&device, &mut workspace, &spec, &weights, &input, keep, output.view_mut()).expect("operands fit");
            let mut targets = gradients
                .iter_mut()
                .enumerate()
                .map(|(i, gradient)| wanted(i).then(|| Target { to: ViewMut::of(gradient), accumulate: time > 0 }));
            let targets = Block::from_list(std::array::from_fn(|_| targets.next().flatten()));
            let to = ViewMut::of(&mut hidden_gradient);
            let kept = keeps.then(slab);
            let dy = View::of(&self.output_gradient);
            backward(&device, &mut workspace, &spec, &weights, &input, kept, dy, targets, to).expect("operands fit");
        }
        Run { output: output.values(), hidden_gradient, gradients }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub output: Vec<f64>,
    pub hidden_gradient: Vec<f32>,
    pub gradients: Vec<Vec<f32>>,
}
