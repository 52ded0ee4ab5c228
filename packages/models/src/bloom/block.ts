/** One transformer block: attention and MLP, each behind a LayerNorm, with residual connections. */
import {
  checkpointed,
  Module,
  plainExecution,
  tf,
  type BlockExecution,
  type BlockProgram,
  type Parameter,
  type Tensor,
  type TransformerBlock,
} from '@tensorloom/core';
import { alibiSlopes } from './alibi.ts';
import { BloomAttention } from './attention.ts';
import type { BloomConfig } from './config.ts';
import type { Initializer } from './initialization.ts';
import { LayerNorm } from './layers.ts';
import { BloomMlp } from './mlp.ts';

export class BloomBlock extends Module implements TransformerBlock {
  readonly blockExecution: BlockExecution = plainExecution();
  readonly inputLayernorm: LayerNorm;
  readonly selfAttention: BloomAttention;
  readonly postAttentionLayernorm: LayerNorm;
  readonly mlp: BloomMlp;
  readonly blockProgram: BlockProgram;

  constructor(config: BloomConfig, initializer: Initializer) {
    super();
    this.inputLayernorm = new LayerNorm(config.hiddenSize, config.layerNormEpsilon, initializer);
    this.selfAttention = new BloomAttention(config, initializer);
    this.postAttentionLayernorm = new LayerNorm(config.hiddenSize, config.layerNormEpsilon, initializer);
    this.mlp = new BloomMlp(config, initializer);
    this.blockProgram = {
      parameters: {
        inputNormWeight: this.inputLayernorm.weight,
        inputNormBias: this.inputLayernorm.bias,
        queryKeyValueWeight: this.selfAttention.queryKeyValue.weight,
        queryKeyValueBias: this.selfAttention.queryKeyValue.bias,
        denseWeight: this.selfAttention.dense.weight,
        denseBias: this.selfAttention.dense.bias,
        postNormWeight: this.postAttentionLayernorm.weight,
        postNormBias: this.postAttentionLayernorm.bias,
        upWeight: this.mlp.denseHTo4h.weight,
        upBias: this.mlp.denseHTo4h.bias,
        downWeight: this.mlp.dense4hToH.weight,
        downBias: this.mlp.dense4hToH.bias,
      },
      slopes: alibiSlopes(config.numHeads),
      layerNormEpsilon: config.layerNormEpsilon,
      residualAfterNorm: config.applyResidualConnectionPostLayernorm,
      attentionDropout: config.attentionDropout,
      hiddenDropout: config.hiddenDropout,
    };
  }

  /**
   * `hidden` [batch, seq, hidden] → the same shape; `attentionMask` [batch, seq] int32, `bias` made from it. With `pick` [batch, picked, seq]
   * → [batch, picked, hidden]: all but attention is computed for these positions only, op by op also where the block is compiled, since
   * nearly nothing is left to be fused. Frees what the tape did not save.
   */
  override forward(hidden: Tensor, attentionMask: Tensor, bias: Tensor | null, pick: Tensor | null = null): Tensor {
    const { compiled, recompute } = this.blockExecution;
    if (compiled !== null && pick === null)
      return compiled.forward(hidden, attentionMask, { training: this.training, recompute });
    if (!recompute) return this.#layers(hidden, attentionMask, bias, pick);
    return checkpointed<'hidden' | 'attentionMask' | 'bias' | 'pick'>(
      (inputs) => this.#layers(inputs.hidden, inputs.attentionMask, inputs.bias ?? null, inputs.pick ?? null),
      { hidden, attentionMask, ...(bias && { bias }), ...(pick && { pick }) } as Record<
        'hidden' | 'attentionMask' | 'bias' | 'pick',
        Tensor
      >,
      Object.values(this.blockProgram.parameters) as Parameter[],
    );
  }

  #layers(hidden: Tensor, attentionMask: Tensor, bias: Tensor | null, pick: Tensor | null): Tensor {
    const { residualAfterNorm } = this.blockProgram;
    return tf.tidy(() => {
      const normalised = this.inputLayernorm.forward(hidden);
      const attended = this.selfAttention.forward(
        normalised,
        residualAfterNorm ? normalised : hidden,
        attentionMask,
        bias,
        pick,
      );
      const renormalised = this.postAttentionLayernorm.forward(attended);
      return this.mlp.forward(renormalised, residualAfterNorm ? renormalised : attended);
    });
  }
}
