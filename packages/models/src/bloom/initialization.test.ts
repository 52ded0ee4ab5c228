import { RandomGenerator } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { activate, largestError } from '../testing.test-helper.ts';
import { parseBloomConfig } from './config.ts';
import { BloomForSequenceClassification } from './sequence-classification.ts';
import { model, pad } from './small-model.test-helper.ts';

describe('initial weights', () => {
  beforeAll(() => activate('cpu'));

  it('are normal with the published deviation, biases zero and LayerNorms one', () => {
    const net = new BloomForSequenceClassification(
      parseBloomConfig({ vocab_size: 300, hidden_size: 64, pad_token_id: pad }),
      { random: new RandomGenerator(9) },
    );
    for (const [name, parameter] of net.namedParameters()) {
      const values = parameter.value.dataSync<'float32'>();
      const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
      if (name.endsWith('.bias'))
        expect(
          values.every((x) => x === 0),
          name,
        ).toBe(true);
      else if (/layernorm|ln_f/.test(name))
        expect(
          values.every((x) => x === 1),
          name,
        ).toBe(true);
      else if (values.length > 1000) {
        expect(deviation, name).toBeGreaterThan(0.019);
        expect(deviation, name).toBeLessThan(0.021);
        expect(Math.abs(mean), name).toBeLessThan(0.001);
      }
    }
    // transformers gives BLOOM's embedding no padding_idx, so the padding row is random like the others.
    expect(
      net.transformer.wordEmbeddings.weight.value.slice([pad, 0], [1, 64]).abs().max().dataSync()[0],
    ).toBeGreaterThan(0);
  });

  it('follow the seed', () => {
    const first = (seed: number): Float32Array => model({}, seed).score.weight.value.dataSync<'float32'>();
    expect(largestError(first(1), first(1))).toBe(0);
    expect(largestError(first(1), first(2))).toBeGreaterThan(0);
  });
});
