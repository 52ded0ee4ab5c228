import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { tf, type Tensor } from '../tensors.ts';
import { layerNorm } from './layer-norm.ts';
import { checkOp, range, values } from './reference.testing.ts';

const naive =
  (rows: number, width: number, epsilon: number) =>
  ([x, w, b]: number[][]): number[] =>
    range(rows).flatMap((i) => {
      const row = x!.slice(i * width, (i + 1) * width);
      const mean = row.reduce((sum, v) => sum + v, 0) / width;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / width;
      return row.map((v, j) => ((v - mean) / Math.sqrt(variance + epsilon)) * w![j]! + b![j]!);
    });

describe.each(testBackends())('layerNorm on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    [[2, 3, 7], 1e-5],
    [[4, 5], 0.1],
    [[3], 1e-5],
  ])('normalizes the last axis of %j, with its gradients', (shape, epsilon) => {
    const width = shape.at(-1) as number;
    const rows = shape.slice(0, -1).reduce((product, n) => product * n, 1);
    checkOp(
      [
        { shape, data: values(rows * width, 1) },
        { shape: [width], data: values(width, 2) },
        { shape: [width], data: values(width, 3) },
      ],
      ([x, w, b]) => layerNorm(x as Tensor, w as Tensor, b as Tensor, epsilon),
      naive(rows, width, epsilon),
      2e-5,
    );
  });

  it('refuses a weight that does not fit the last axis', () =>
    tf.tidy(() => {
      expect(() => layerNorm(tf.zeros([2, 3]), tf.zeros([2]), tf.zeros([3]))).toThrow(
        /weight is \[2\]; expected \[3\]/,
      );
    }));
});
