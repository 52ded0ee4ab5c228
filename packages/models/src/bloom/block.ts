/** One transformer block: attention and MLP, each behind a LayerNorm, with residual connections. */
import { Module, tf, type Tensor } from '@tensorloom/core';
import { BloomAttention } from './attention.ts';
import type { BloomConfig } from './config.ts';
import type { Initializer } from './initialization.ts';
import { LayerNorm } from './layers.ts';
import { BloomMlp } from './mlp.ts';

export class BloomBlock extends Module {
  readonly inputLayernorm: LayerNorm;
  readonly selfAttention: BloomAttention;
  readonly postAttentionLayernorm: LayerNorm;
  readonly mlp: BloomMlp;
  readonly #residualAfterNorm: boolean;

  constructor(config: BloomConfig, initializer: Initializer) {
    super();
    this.#residualAfterNorm = config.applyResidualConnectionPostLayernorm;
    this.inputLayernorm = new LayerNorm(config.hiddenSize, config.layerNormEpsilon, initializer);
    this.selfAttention = new BloomAttention(config, initializer);
    this.postAttentionLayernorm = new LayerNorm(config.hiddenSize, config.layerNormEpsilon, initializer);
    this.mlp = new BloomMlp(config, initializer);
  }

  /** `hidden` [batch, seq, hidden] → the same shape; `attentionMask` [batch, seq] int32, `bias` made from it. Frees what the tape did not save. */
  override forward(hidden: Tensor, attentionMask: Tensor, bias: Tensor | null): Tensor {
    return tf.tidy(() => {
      const normalised = this.inputLayernorm.forward(hidden);
      const attended = this.selfAttention.forward(
        normalised,
        this.#residualAfterNorm ? normalised : hidden,
        attentionMask,
        bias,
      );
      const renormalised = this.postAttentionLayernorm.forward(attended);
      return this.mlp.forward(renormalised, this.#residualAfterNorm ? renormalised : attended);
    });
  }
}
