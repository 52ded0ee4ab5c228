import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { RandomGenerator } from '../random.ts';
import { tf, type Tensor } from '../tensors.ts';
import { bloomAttention, bloomAttentionBias } from './bloom-attention.ts';
import { dropoutMask } from './dropout.ts';
import { checkOp, expectClose, range, values } from './reference.testing.ts';

const least = -3.4028234663852886e38;

interface Shape {
  batch: number;
  seq: number;
  heads: number;
  dim: number;
}

/** The definition, position by position. */
const naive =
  (
    { batch, seq, heads, dim }: Shape,
    slopes: ArrayLike<number>,
    mask: readonly number[],
    dropped?: ArrayLike<number>,
  ) =>
  ([fused]: number[][]): number[] => {
    const at = (b: number, s: number, h: number, part: number, d: number): number =>
      fused![(((b * seq + s) * heads + h) * 3 + part) * dim + d]!;
    const output = new Array<number>(batch * seq * heads * dim).fill(0);
    for (const b of range(batch))
      for (const h of range(heads))
        for (const q of range(seq)) {
          const scores = range(seq).map((k) => {
            const position = (range(k + 1).reduce((sum, i) => sum + mask[b * seq + i]!, 0) - 1) * mask[b * seq + k]!;
            const product = range(dim).reduce((sum, d) => sum + at(b, q, h, 0, d) * at(b, k, h, 1, d), 0);
            return k <= q && mask[b * seq + k] === 1 ? slopes[h]! * position + product / Math.sqrt(dim) : least;
          });
          const largest = Math.max(...scores);
          const exponentials = scores.map((score) => Math.exp(score - largest));
          const total = exponentials.reduce((sum, e) => sum + e, 0);
          for (const k of range(seq))
            for (const d of range(dim))
              output[((b * seq + q) * heads + h) * dim + d]! +=
                (exponentials[k]! / total) *
                (dropped?.[((b * heads + h) * seq + q) * seq + k] ?? 1) *
                at(b, k, h, 2, d);
        }
    return output;
  };

/**
 * Weights of outputs that leave out queries which see nothing but padding: there, as in transformers, the gradient
 * passes through the sum with the mask, though in float32 the sum does not change.
 */
function weightsFor({ seq, heads, dim }: Shape, mask: readonly number[]): (i: number) => number {
  return (i) => {
    const row = Math.floor(i / (heads * dim));
    const first = row - (row % seq);
    return mask.slice(first, row + 1).includes(1) ? Math.cos(i * 1.3 + 0.4) : 0;
  };
}

function check(shape: Shape, mask: number[], tolerance = 2e-5): void {
  const { batch, seq, heads, dim } = shape;
  const slopes = Float32Array.from(range(heads), (h) => 2 ** -(h + 1));
  const maskTensor = tf.tensor2d(mask, [batch, seq], 'int32');
  checkOp(
    [{ shape: [batch, seq, heads * 3 * dim], data: values(batch * seq * heads * 3 * dim, 7) }],
    ([fused]) => bloomAttention(fused as Tensor, slopes, maskTensor, { heads }),
    naive(shape, slopes, mask),
    tolerance,
    weightsFor(shape, mask),
  );
  maskTensor.dispose();
}

describe.each(testBackends())('bloomAttention on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('is causal attention with ALiBi, with its gradient, at odd sizes', () =>
    check({ batch: 2, seq: 5, heads: 3, dim: 3 }, Array(10).fill(1)));
  it('passes over padding on the right', () => check({ batch: 2, seq: 4, heads: 2, dim: 2 }, [1, 1, 0, 0, 1, 1, 1, 1]));
  it('passes over padding on the left, and counts positions from the first token', () =>
    check({ batch: 2, seq: 5, heads: 2, dim: 2 }, [0, 0, 1, 1, 1, 0, 1, 1, 1, 1]));
  it('gives a row of nothing but padding a mean of all values, and no NaN', () =>
    check({ batch: 2, seq: 3, heads: 1, dim: 2 }, [0, 0, 0, 1, 1, 1]));
  it('works for one token', () => check({ batch: 1, seq: 1, heads: 1, dim: 4 }, [1]));

  it('gives the definition for any shape and mask', () => {
    const small = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(
        small,
        small,
        small,
        small,
        fc.array(fc.constantFrom(0, 1), { minLength: 16, maxLength: 16 }),
        (batch, seq, heads, dim, bits) => {
          const mask = bits.slice(0, batch * seq);
          const slopes = Float32Array.from(range(heads), (h) => 0.7 ** (h + 1));
          const data = values(batch * seq * heads * 3 * dim, 3);
          tf.tidy(() => {
            const fused = tf.tensor3d(data, [batch, seq, heads * 3 * dim]);
            const actual = bloomAttention(fused, slopes, tf.tensor2d(mask, [batch, seq], 'int32'), {
              heads,
            }).dataSync();
            expectClose(actual, naive({ batch, seq, heads, dim }, slopes, mask)([data]), 2e-5);
          });
        },
      ),
      { numRuns: 30 },
    );
  });

  it('drops probabilities out, with the gradient to match', () => {
    const shape = { batch: 2, seq: 4, heads: 2, dim: 3 };
    const slopes = new Float32Array([0.5, 0.25]);
    const mask = [1, 1, 1, 1, 0, 1, 1, 1];
    const maskTensor = tf.tensor2d(mask, [2, 4], 'int32');
    const dropped = tf.tidy(() => dropoutMask([2, 2, 4, 4], 0.3, new RandomGenerator(9)).dataSync());
    checkOp(
      [{ shape: [2, 4, 18], data: values(2 * 4 * 18, 7) }],
      ([fused]) =>
        bloomAttention(fused as Tensor, slopes, maskTensor, {
          heads: 2,
          dropout: { rate: 0.3, random: new RandomGenerator(9) },
        }),
      naive(shape, slopes, mask, dropped),
      2e-5,
      weightsFor(shape, mask),
    );
    maskTensor.dispose();
  });

  it('takes a bias computed once for all layers', () =>
    tf.tidy(() => {
      const slopes = new Float32Array([0.5, 0.25]);
      const mask = tf.tensor2d([0, 1, 1], [1, 3], 'int32');
      const fused = tf.tensor3d(values(3 * 12, 1), [1, 3, 12]);
      const bias = bloomAttentionBias(slopes, mask);
      expect(bias?.shape).toEqual([1, 2, 3, 3]);
      const [once, anew] = [bias, null].map((each) =>
        bloomAttention(fused, slopes, mask, { heads: 2, bias: each }).dataSync(),
      );
      expect(once).toEqual(anew);
    }));

  it('refuses shapes that do not fit', () =>
    tf.tidy(() => {
      const mask = tf.ones([1, 3], 'int32');
      expect(() => bloomAttention(tf.zeros([1, 3, 10]), new Float32Array(2), mask, { heads: 2 })).toThrow(
        /fusedQkv is \[1, 3, 10\]/,
      );
      expect(() => bloomAttention(tf.zeros([1, 4, 12]), new Float32Array(2), mask, { heads: 2 })).toThrow(
        /attentionMask is \[1, 3\]; expected \[1, 4\]/,
      );
    }));
});
