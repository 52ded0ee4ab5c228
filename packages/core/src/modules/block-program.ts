/** What a transformer block tells a compiler, so that it may run the block as one operation without knowing its class. */
import type { Tensor } from '../tensors.ts';
import type { Parameter } from './parameter.ts';

/** Weights `[out, in]`, biases and LayerNorm's weights `[out]`, by the step that they are for. */
export interface BlockParameters {
  readonly inputNormWeight: Parameter;
  readonly inputNormBias: Parameter;
  /** `[3 hidden, hidden]`, heads interleaved: `[head, 3, dim]`. */
  readonly queryKeyValueWeight: Parameter;
  readonly queryKeyValueBias: Parameter;
  readonly denseWeight: Parameter;
  readonly denseBias: Parameter;
  readonly postNormWeight: Parameter;
  readonly postNormBias: Parameter;
  /** `[4 hidden, hidden]` */
  readonly upWeight: Parameter;
  readonly upBias: Parameter;
  /** `[hidden, 4 hidden]` */
  readonly downWeight: Parameter;
  readonly downBias: Parameter;
}

/**
 * A block that computes, of `x [batch, seq, hidden]`:
 * `middle = dropout(dense(attention(queryKeyValue(inputNorm(x))))) + x`, then `dropout(down(geluTanh(up(postNorm(middle))))) + middle`,
 * with the operations of this package; attention is `bloomAttention`. Dropout only while training. Seeds are drawn from `globalRandom`
 * in this order: attention's, the first hidden dropout's, the second's; none where the rate is zero.
 */
export interface BlockProgram {
  readonly parameters: BlockParameters;
  /** Of ALiBi, one for each head. */
  readonly slopes: Float32Array;
  readonly layerNormEpsilon: number;
  /** Residuals are what the LayerNorms return, rather than what they are given. */
  readonly residualAfterNorm: boolean;
  readonly attentionDropout: number;
  readonly hiddenDropout: number;
}

/** How a block runs: set by `fabric.setup` or an accelerator's `compile`, for a block that has a program. */
export interface BlockExecution {
  /** Computes the block where an accelerator has compiled it. */
  compiled: CompiledBlock | null;
  /** Keep only the block's input until backward, which computes the block again (activation checkpointing). */
  recompute: boolean;
}

/** One operation, with a gradient, in the place of a block's forward. */
export interface CompiledBlock {
  /** @param attentionMask int32 `[batch, seq]`, 1 for tokens and 0 for padding */
  forward(
    hidden: Tensor,
    attentionMask: Tensor,
    options: { readonly training: boolean; readonly recompute: boolean },
  ): Tensor;
}

/** A module that is such a block. */
export interface TransformerBlock {
  readonly blockProgram: BlockProgram;
  readonly blockExecution: BlockExecution;
}

/** Whether `module` is a transformer block that can be compiled and recomputed. */
export function isTransformerBlock(module: object): module is TransformerBlock {
  return 'blockProgram' in module && 'blockExecution' in module;
}

/** How a block runs by itself. */
export function plainExecution(): BlockExecution {
  return { compiled: null, recompute: false };
}
