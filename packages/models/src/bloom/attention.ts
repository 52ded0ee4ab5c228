/** BLOOM's self-attention: fused query-key-value projection, ALiBi, causal. */
import { bloomAttention, dropout, globalRandom, Module, tf, type Tensor } from '@tensorloom/core';
import { alibiSlopes } from './alibi.ts';
import type { BloomConfig } from './config.ts';
import type { Initializer } from './initialization.ts';
import { Linear } from './layers.ts';

export class BloomAttention extends Module {
  readonly queryKeyValue: Linear;
  readonly dense: Linear;
  readonly #slopes: Float32Array;
  readonly #config: BloomConfig;

  constructor(config: BloomConfig, initializer: Initializer) {
    super();
    this.#config = config;
    this.#slopes = alibiSlopes(config.numHeads);
    this.queryKeyValue = new Linear(config.hiddenSize, 3 * config.hiddenSize, initializer);
    this.dense = new Linear(config.hiddenSize, config.hiddenSize, initializer);
  }

  /**
   * @param hidden [batch, seq, hidden], normalised
   * @param residual [batch, seq, hidden], added to the result
   * @param attentionMask [batch, seq] int32, 1 for tokens, 0 for padding
   * @param bias ALiBi and mask as `bloomAttentionBias` made them, the same for all blocks
   * @param pick [batch, picked, seq] where only some positions are needed (see `BloomTransformer.forward`); all are attended to
   */
  override forward(
    hidden: Tensor,
    residual: Tensor,
    attentionMask: Tensor,
    bias: Tensor | null,
    pick: Tensor | null,
  ): Tensor {
    const { numHeads: heads, attentionDropout, hiddenDropout } = this.#config;
    const attentionRate = this.training ? attentionDropout : 0;
    const context = bloomAttention(this.queryKeyValue.forward(hidden), this.#slopes, attentionMask, {
      heads,
      bias,
      ...(attentionRate > 0 ? { dropout: { rate: attentionRate, random: globalRandom() } } : {}),
    });
    const output = this.dense.forward(pick === null ? context : tf.matMul(pick, context));
    return (this.training && hiddenDropout > 0 ? dropout(output, hiddenDropout, globalRandom()) : output).add(
      pick === null ? residual : tf.matMul(pick, residual),
    );
  }
}
