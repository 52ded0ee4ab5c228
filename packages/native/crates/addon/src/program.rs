//! Transformer blocks that run as one program each.

use crate::numbers::{Handle, Number, counts};
use crate::sizes::expect_len;
use crate::tensors::{Tensor, dtype_of, hand_out, js_error, new_tensor, tensor, tensor_to_write, with_device};
use napi::{Error, Result, Status};
use napi_derive::napi;
use std::cell::RefCell;
use tensorloom_engine::memory::Kind;
use tensorloom_engine::ops::Dropping;
use tensorloom_engine::program::{
    Block, BlockInput, BlockSpec, Keep, Slab, Target, Workspace, backward, forward, kept_bytes,
};
use tensorloom_engine::{DType, View};

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// A parameter whose gradient is not wanted.
const UNWANTED: i32 = -1;

/// The operands of a block, held while it runs.
struct Operands {
    hidden: Tensor,
    mask: Tensor,
    weights: Vec<Tensor>,
    batch: usize,
    seq: usize,
    epsilon: f32,
    residual_after_norm: bool,
    attention_dropping: Dropping,
    hidden_droppings: [Dropping; 2],
    storage: DType,
}

impl Operands {
    /// `numbers` are: batch, seq, epsilon, 1 for residuals behind the norms, rate and seed of attention's dropout, rate of the hidden
    /// ones, their two seeds.
    fn of(hidden: Handle, mask: Handle, weights: &[u32], numbers: &[f64], storage: Number) -> Result<Self> {
        let (12, &[batch, seq, epsilon, after_norm, attention_rate, attention_seed, hidden_rate, seed1, seed2]) =
            (weights.len(), numbers)
        else {
            return Err(Error::new(Status::InvalidArg, "A block has 12 parameters and 9 numbers."));
        };
        let dropping = |rate, name, seed| Ok::<_, Error>(Dropping { rate, seed: Number::from(seed).whole(name)? });
        Ok(Self {
            hidden: tensor("hidden", hidden)?,
            mask: tensor("mask", mask)?,
            weights: weights.iter().map(|&handle| tensor("weights", handle)).collect::<Result<_>>()?,
            batch: Number::from(batch).count("batch")?,
            seq: Number::from(seq).count("seq")?,
            epsilon: epsilon as f32,
            residual_after_norm: after_norm != 0.0,
            attention_dropping: dropping(attention_rate, "attention's seed", attention_seed)?,
            hidden_droppings: [
                dropping(hidden_rate, "the first seed", seed1)?,
                dropping(hidden_rate, "the second seed", seed2)?,
            ],
            storage: dtype_of("storage", storage)?,
        })
    }

    fn spec<'a>(&self, slopes: &'a [f32]) -> BlockSpec<'a> {
        BlockSpec {
            epsilon: self.epsilon,
            residual_after_norm: self.residual_after_norm,
            slopes,
            attention_dropping: self.attention_dropping,
            hidden_droppings: self.hidden_droppings,
            storage: self.storage,
        }
    }

    fn block(&self) -> Block<View<'_>> {
        Block::from_list(std::array::from_fn(|i| self.weights[i].view()))
    }

    fn input(&self) -> BlockInput<'_> {
        BlockInput { hidden: self.hidden.view(), mask: self.mask.view(), batch: self.batch, seq: self.seq }
    }
}

/// Bytes that a block keeps for its gradient, for so many tokens.
#[napi(catch_unwind)]
pub fn block_kept_bytes(tokens: Number, width: Number, inner: Number, heads: Number, storage: Number) -> Result<f64> {
    let sizes = [("tokens", tokens), ("width", width), ("inner", inner), ("heads", heads)];
    let [tokens, width, inner, heads] = counts(sizes)?;
    let bytes = kept_bytes(tokens, width, inner, heads, dtype_of("storage", storage)?).map_err(js_error)?;
    Ok(bytes as f64)
}

/// A block's result and, if it `keeps`, bytes that its gradient needs. `weights` are the 12 parameters in the order of the steps.
#[napi(catch_unwind)]
pub fn block_forward(
    hidden: Handle,
    mask: Handle,
    weights: &[u32],
    slopes: &[f32],
    numbers: &[f64],
    storage: Number,
    keeps: bool,
) -> Result<Vec<Handle>> {
    let operands = Operands::of(hidden, mask, weights, numbers, storage)?;
    let (spec, block, input) = (operands.spec(slopes), operands.block(), operands.input());
    let mut output = new_tensor(input.hidden.len(), operands.storage, Kind::Tensor)?;
    let kept = if keeps {
        let bytes = kept_bytes(input.tokens(), block.width(), block.inner(), slopes.len(), operands.storage)
            .map_err(js_error)?;
        Some(new_tensor(bytes, DType::Bool, Kind::Tensor)?)
    } else {
        None
    };
    let keep = kept.as_ref().map_or(Keep::Not, |kept| Keep::Here(slab(kept)));
    with_workspace(|workspace| {
        with_device(|device| forward(device, workspace, &spec, &block, &input, keep, output.view_mut()))
            .map_err(js_error)
    })?;
    Ok([Some(output), kept].into_iter().flatten().map(hand_out).collect())
}

/// The gradient of `hidden`, then those that are new of the parameters: `gradients` has for each the handle of the tensor to add to,
/// [`UNWANTED`], or less for a new one. Without `kept` forward runs again.
#[napi(catch_unwind)]
pub fn block_backward(
    output_gradient: Handle,
    hidden: Handle,
    mask: Handle,
    weights: &[u32],
    kept: Option<Handle>,
    gradients: &[i32],
    slopes: &[f32],
    numbers: &[f64],
    storage: Number,
) -> Result<Vec<Handle>> {
    let operands = Operands::of(hidden, mask, weights, numbers, storage)?;
    let (spec, block, input) = (operands.spec(slopes), operands.block(), operands.input());
    let output_gradient = tensor("outputGradient", output_gradient)?;
    let kept = kept.map(|kept| tensor("kept", kept)).transpose()?;
    if let Some(kept) = &kept {
        let bytes = kept_bytes(input.tokens(), block.width(), block.inner(), slopes.len(), operands.storage)
            .map_err(js_error)?;
        expect_len("block: what was kept", kept, bytes)?;
        if kept.dtype != DType::Bool {
            return Err(Error::new(Status::InvalidArg, "What a block kept is bytes."));
        }
    }
    let mut hidden_gradient = new_tensor(input.hidden.len(), DType::F32, Kind::Tensor)?;
    if gradients.len() != operands.weights.len() {
        return Err(Error::new(Status::InvalidArg, "A block has 12 gradients."));
    }
    let read: Vec<&Tensor> =
        operands.weights.iter().chain([&operands.hidden, &operands.mask, &output_gradient]).chain(&kept).collect();
    let mut to: Vec<Option<(Tensor, bool)>> = Vec::with_capacity(gradients.len());
    for (&handle, parameter) in gradients.iter().zip(&operands.weights) {
        to.push(match handle {
            UNWANTED => None,
            0.. => {
                let written = to.iter().flatten().map(|(tensor, _)| tensor);
                let others: Vec<&Tensor> = read.iter().copied().chain(written).collect();
                let written = tensor_to_write("gradients", handle as u32, &others)?;
                expect_len("block: a gradient", &written, parameter.len)?;
                Some((written, true))
            }
            _ => Some((new_tensor(parameter.len, DType::F32, Kind::Gradient)?, false)),
        });
    }
    let mut targets = to
        .iter_mut()
        .map(|to| to.as_mut().map(|(tensor, accumulate)| Target { accumulate: *accumulate, to: tensor.view_mut() }));
    let targets = Block::from_list(std::array::from_fn(|_| targets.next().flatten()));
    let kept = kept.as_ref().map(slab);
    with_workspace(|workspace| {
        with_device(|device| {
            let to = hidden_gradient.view_mut();
            backward(device, workspace, &spec, &block, &input, kept, output_gradient.view(), targets, to)
        })
        .map_err(js_error)
    })?;
    let new = to.into_iter().flatten().filter(|(_, accumulate)| !accumulate).map(|(tensor, _)| tensor);
    Ok(std::iter::once(hidden_gradient).chain(new).map(hand_out).collect())
}

/// Gives the memory back that blocks work in. It grows again when it is needed.
#[napi(catch_unwind)]
pub fn clear_workspace() {
    WORKSPACE.with_borrow_mut(Workspace::clear);
}

fn with_workspace<T>(use_workspace: impl FnOnce(&mut Workspace) -> T) -> T {
    WORKSPACE.with_borrow_mut(use_workspace)
}

/// The memory of what a block keeps, of which JavaScript has no view: it is written once, by the forward that makes it.
fn slab(kept: &Tensor) -> Slab<'_> {
    // SAFETY: pools align buffers; the tensor lives as long as the slab, and backward only reads what forward has written.
    unsafe { Slab::from_raw(kept.buffer.pointer(), kept.len) }
}
