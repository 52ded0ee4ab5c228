/** Names and shapes of all parameters of a BLOOM model, from its configuration alone: nothing is allocated. */
import type { BloomConfig } from './config.ts';

/** What stands on the transformer. */
export type Head = 'none' | 'sequence-classification' | 'causal-lm';

/**
 * Hugging Face names and shapes, in the order of transformers' state dict. The body's names carry the prefix
 * `transformer.` unless `head` is `none` (BloomModel). The causal head is tied and adds nothing.
 */
export function* parameterShapes(config: BloomConfig, head: Head = 'none'): Generator<[name: string, shape: number[]]> {
  const prefix = head === 'none' ? '' : 'transformer.';
  const h = config.hiddenSize;
  const layerNorm = function* (name: string): Generator<[string, number[]]> {
    yield [`${name}.weight`, [h]];
    yield [`${name}.bias`, [h]];
  };
  const linear = function* (name: string, rows: number, columns: number): Generator<[string, number[]]> {
    yield [`${name}.weight`, [rows, columns]];
    yield [`${name}.bias`, [rows]];
  };
  yield [`${prefix}word_embeddings.weight`, [config.vocabSize, h]];
  yield* layerNorm(`${prefix}word_embeddings_layernorm`);
  for (let layer = 0; layer < config.numLayers; layer++) {
    const block = `${prefix}h.${layer}`;
    yield* layerNorm(`${block}.input_layernorm`);
    yield* linear(`${block}.self_attention.query_key_value`, 3 * h, h);
    yield* linear(`${block}.self_attention.dense`, h, h);
    yield* layerNorm(`${block}.post_attention_layernorm`);
    yield* linear(`${block}.mlp.dense_h_to_4h`, 4 * h, h);
    yield* linear(`${block}.mlp.dense_4h_to_h`, h, 4 * h);
  }
  yield* layerNorm(`${prefix}ln_f`);
  if (head === 'sequence-classification') yield ['score.weight', [config.numLabels, h]];
}

/** Number of parameters (elements); of the body alone unless a head is named. */
export function countParameters(config: BloomConfig, head: Head = 'none'): number {
  let total = 0;
  for (const [, shape] of parameterShapes(config, head)) total += shape.reduce((product, n) => product * n, 1);
  return total;
}
