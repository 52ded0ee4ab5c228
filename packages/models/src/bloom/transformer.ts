/** BLOOM's body (BloomModel in transformers): embedding with its LayerNorm, blocks, final LayerNorm. */
import { bloomAttentionBias, Module, tf, type Tensor } from '@tensorloom/core';
import { alibiSlopes } from './alibi.ts';
import { BloomBlock } from './block.ts';
import type { BloomConfig } from './config.ts';
import type { Initializer } from './initialization.ts';
import { Embedding, LayerNorm } from './layers.ts';

/** Embeddings, blocks and the last LayerNorm. */
export class BloomTransformer extends Module {
  readonly wordEmbeddings: Embedding;
  readonly wordEmbeddingsLayernorm: LayerNorm;
  readonly h: readonly BloomBlock[];
  readonly lnF: LayerNorm;
  readonly #slopes: Float32Array;

  constructor(config: BloomConfig, initializer: Initializer) {
    super();
    const { vocabSize, hiddenSize, layerNormEpsilon, numLayers } = config;
    this.#slopes = alibiSlopes(config.numHeads);
    this.wordEmbeddings = new Embedding(vocabSize, hiddenSize, initializer);
    this.wordEmbeddingsLayernorm = new LayerNorm(hiddenSize, layerNormEpsilon, initializer);
    this.h = Array.from({ length: numLayers }, () => new BloomBlock(config, initializer));
    this.lnF = new LayerNorm(hiddenSize, layerNormEpsilon, initializer);
  }

  /**
   * @param inputIds [batch, seq] int32
   * @param attentionMask [batch, seq] int32, 1 for tokens, 0 for padding on either side
   * @param pick [batch, picked, seq] float32 with a 1 in each row: the positions whose last hidden state is needed, for a caller that needs but
   *     few. Of the last block and the last LayerNorm only these are computed, which are the same numbers; earlier positions go into them
   *     through the keys and values of attention alone.
   * @returns the last hidden state, [batch, seq, hidden], or [batch, picked, hidden]
   */
  override forward(inputIds: Tensor, attentionMask: Tensor, pick: Tensor | null = null): Tensor {
    return tf.tidy(() => {
      const bias = bloomAttentionBias(this.#slopes, attentionMask);
      let hidden = this.wordEmbeddingsLayernorm.forward(this.wordEmbeddings.forward(inputIds));
      for (const [i, block] of this.h.entries()) {
        const next = block.forward(hidden, attentionMask, bias, i === this.h.length - 1 ? pick : null);
        hidden.dispose();
        hidden = next;
      }
      return this.lnF.forward(hidden);
    });
  }
}
