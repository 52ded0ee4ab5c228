import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { tf, type Tensor } from '../tensors.ts';
import { binaryCrossEntropyWithLogits, meanSquaredError } from './losses.ts';
import { checkOp, values } from './reference.testing.ts';

const mean = (numbers: number[]): number[] => [numbers.reduce((sum, n) => sum + n, 0) / numbers.length];

describe.each(testBackends())('losses on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('meanSquaredError is the mean of squared differences', () =>
    checkOp(
      [1, 2].map((seed) => ({ shape: [3, 5], data: values(15, seed) })),
      ([a, b]) => meanSquaredError(a as Tensor, b as Tensor),
      ([a, b]) => mean(a!.map((v, i) => (v - b![i]!) ** 2)),
    ));

  it('binaryCrossEntropyWithLogits is the mean of -(y log p + (1 - y) log(1 - p))', () =>
    checkOp(
      [
        { shape: [2, 4], data: [...values(6, 1), 40, -40] },
        { shape: [2, 4], data: [0, 1, 0.3, 1, 0, 0.9, 1, 1] },
      ],
      ([x, y]) => binaryCrossEntropyWithLogits(x as Tensor, y as Tensor),
      ([x, y]) => mean(x!.map((v, i) => Math.max(v, 0) - v * y![i]! + Math.log1p(Math.exp(-Math.abs(v))))),
    ));

  it('refuse shapes that differ', () =>
    tf.tidy(() => {
      expect(() => meanSquaredError(tf.zeros([2]), tf.zeros([1, 2]))).toThrow(/\[2\] and float32 \[1, 2\]/);
      expect(() => binaryCrossEntropyWithLogits(tf.zeros([2]), tf.zeros([2], 'int32'))).toThrow(/int32 \[2\]/);
    }));
});
