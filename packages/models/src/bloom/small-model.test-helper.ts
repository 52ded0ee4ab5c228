/** For tests: a small BLOOM with random weights, and rows to give it. */
import { RandomGenerator, tf, type Tensor } from '@tensorloom/core';
import { parseBloomConfig, withConfig, type BloomConfig } from './config.ts';
import type { BloomInputs } from './inputs.ts';
import { BloomForSequenceClassification } from './sequence-classification.ts';

export const pad = 3;
export const config = parseBloomConfig({
  vocab_size: 60,
  hidden_size: 24,
  n_layer: 2,
  n_head: 6,
  pad_token_id: pad,
  initializer_range: 0.3,
  num_labels: 3,
});

/** Rows of token ids, padded to `length` on a side. */
export function batchOf(
  rows: readonly (readonly number[])[],
  length: number,
  side: 'left' | 'right' = 'right',
): BloomInputs {
  const padded = rows.map((row) => {
    const padding = Array.from({ length: length - row.length }, () => pad);
    return side === 'left' ? [...padding, ...row] : [...row, ...padding];
  });
  return {
    inputIds: tf.tensor2d(padded, undefined, 'int32'),
    attentionMask: tf.tensor2d(
      padded.map((row) => row.map((id) => (id === pad ? 0 : 1))),
      undefined,
      'int32',
    ),
  };
}

/** A model of those shapes, in evaluation mode. */
export const model = (changes: Partial<BloomConfig> = {}, seed = 5): BloomForSequenceClassification =>
  new BloomForSequenceClassification(withConfig(config, changes), { random: new RandomGenerator(seed) }).eval();
export const lossOf = (net: BloomForSequenceClassification, inputs: BloomInputs, labels: Tensor): number =>
  net.forward({ ...inputs, labels }).loss.dataSync()[0] as number;

export const rows = [
  [5, 9, 12, 40, 8],
  [7, 7, 30],
  [11, 4, 59, 22, 21, 20, 6],
];
