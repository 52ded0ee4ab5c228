import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { tf, type Tensor } from '../tensors.ts';
import { linear } from './linear.ts';
import { checkOp, expectClose, range, values } from './reference.testing.ts';

const naive =
  (rows: number, inner: number, out: number) =>
  ([x, w, b]: number[][]): number[] =>
    range(rows).flatMap((i) =>
      range(out).map((o) =>
        range(inner).reduce((sum, k) => sum + x![i * inner + k]! * w![o * inner + k]!, b?.[o] ?? 0),
      ),
    );

describe.each(testBackends())('linear on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('is x W^T + b over the last axis, with its gradients, at odd sizes', () => {
    const [x, w, b] = [values(2 * 3 * 5, 1), values(7 * 5, 2), values(7, 3)];
    checkOp(
      [
        { shape: [2, 3, 5], data: x },
        { shape: [7, 5], data: w },
        { shape: [7], data: b },
      ],
      ([xt, wt, bt]) => linear(xt as Tensor, wt as Tensor, bt as Tensor),
      naive(6, 5, 7),
    );
    checkOp(
      [
        { shape: [3, 5], data: x.slice(0, 15) },
        { shape: [7, 5], data: w },
      ],
      ([xt, wt]) => linear(xt as Tensor, wt as Tensor),
      naive(3, 5, 7),
    );
  });

  it('gives the plain sums for any shape', () => {
    const size = fc.integer({ min: 1, max: 6 });
    fc.assert(
      fc.property(
        size,
        size,
        size,
        fc.boolean(),
        fc.integer({ min: 1, max: 1000 }),
        (rows, inner, out, withBias, seed) => {
          const [x, w, b] = [
            values(rows * inner, seed),
            values(out * inner, seed + 1),
            withBias ? values(out, seed + 2) : null,
          ];
          tf.tidy(() => {
            const y = linear(tf.tensor(x, [rows, inner]), tf.tensor(w, [out, inner]), b && tf.tensor1d(b));
            expect(y.shape).toEqual([rows, out]);
            expectClose(y.dataSync(), naive(rows, inner, out)([x, w, ...(b ? [b] : [])]), 1e-5);
          });
        },
      ),
      { numRuns: 25 },
    );
  });

  it('refuses shapes that do not fit, naming them', () =>
    tf.tidy(() => {
      expect(() => linear(tf.zeros([2, 3]), tf.zeros([4, 5]))).toThrow(/x is \[2, 3\] and weight \[4, 5\]/);
      expect(() => linear(tf.zeros([2, 3]), tf.zeros([4, 3]), tf.zeros([3]))).toThrow(/bias is \[3\]; expected \[4\]/);
    }));
});
