import { tf, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { expectClose, onBackend, values } from './compare.testing.ts';
import { broadcastIndices } from './mat-mul.ts';

function compare(compute: () => Tensor): void {
  const run = (): { shape: number[]; data: Float32Array } => {
    const result = compute();
    return { shape: result.shape, data: result.dataSync<'float32'>() };
  };
  const expected = onBackend('cpu', run);
  const actual = onBackend('native', run);
  expect(actual.shape).toEqual(expected.shape);
  expectClose(actual.data, expected.data);
}

const matrix = (rows: number, columns: number, transposed: boolean, seed: number, batch: number[] = []): Tensor => {
  const shape = [...batch, ...(transposed ? [columns, rows] : [rows, columns])];
  return tf.tensor(values(tf.util.sizeFromShape(shape), seed), shape);
};
const size = fc.integer({ min: 1, max: 35 });

describe.skipIf(!nativeIsBuilt)('matMul on native', () => {
  beforeAll(activateNative);

  it("equals tfjs's CPU kernel for all transposes and sizes", () => {
    fc.assert(
      fc.property(size, size, size, fc.boolean(), fc.boolean(), (m, k, n, transposeA, transposeB) =>
        compare(() => tf.matMul(matrix(m, k, transposeA, 1), matrix(k, n, transposeB, 2), transposeA, transposeB)),
      ),
      { numRuns: 40 },
    );
  });

  it.each([
    [[3], [3]],
    [[1], [4]],
    [[4], [1]],
    [[2, 3], [3]],
    [[3], [2, 3]],
    [
      [2, 3],
      [1, 3],
    ],
  ])('broadcasts batches %j and %j', (batchA, batchB) => {
    for (const [transposeA, transposeB] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const)
      compare(() =>
        tf.matMul(matrix(3, 5, transposeA, 1, batchA), matrix(5, 7, transposeB, 2, batchB), transposeA, transposeB),
      );
  });

  it("broadcasts the inner of two batch dimensions too, which tfjs's CPU kernel confuses", () => {
    const [a, b] = [values(2 * 3 * 4 * 5, 1), values(2 * 5 * 6, 2)];
    const product = onBackend('native', () =>
      tf.matMul(tf.tensor(a, [2, 3, 4, 5]), tf.tensor(b, [2, 1, 5, 6])).dataSync<'float32'>(),
    );
    const each = onBackend('cpu', () =>
      [0, 1, 2, 3, 4, 5].flatMap((i) => {
        const left = tf.tensor(a.subarray(i * 20, (i + 1) * 20), [4, 5]);
        const right = tf.tensor(b.subarray(Math.floor(i / 3) * 30, (Math.floor(i / 3) + 1) * 30), [5, 6]);
        return [...tf.matMul(left, right).dataSync()];
      }),
    );
    expectClose(product, each);
  });

  it('has gradients', () => {
    for (const transposes of [
      [false, false],
      [false, true],
    ] as const)
      compare(() => {
        const b = matrix(5, 7, transposes[1], 2, [2]);
        const gradient = tf.grad((a: Tensor) => tf.matMul(a, b, ...transposes));
        return gradient(matrix(3, 5, transposes[0], 1, [2]));
      });
  });

  it('sums nothing to zero and multiplies integers', () => {
    compare(() => tf.matMul(tf.zeros([2, 0]), tf.zeros([0, 3])));
    compare(() => tf.matMul(tf.zeros([0, 2]), tf.zeros([2, 3])));
    compare(() => tf.matMul(tf.tensor([1, 2, 3, 4], [2, 2], 'int32'), tf.tensor([5, 6, 7, 8], [2, 2], 'int32')));
  });

  it.each([undefined, 'linear', 'relu', 'relu6', 'elu', 'sigmoid', 'prelu', 'leakyrelu'] as const)(
    'fuses a bias and the activation %s',
    (activation) => {
      for (const biasShape of [[7], [1, 7], [3, 7]])
        compare(() =>
          tf.fused.matMul({
            a: matrix(3, 5, false, 1),
            b: matrix(5, 7, true, 2),
            transposeB: true,
            bias: tf.tensor(values(tf.util.sizeFromShape(biasShape), 3), biasShape),
            ...(activation && { activation }),
            ...(activation === 'prelu' && { preluActivationWeights: tf.tensor(values(7, 4), [7]) }),
          }),
        );
      compare(() =>
        tf.fused.matMul({
          a: matrix(3, 5, true, 1, [2]),
          b: matrix(5, 7, false, 2, [2]),
          transposeA: true,
          ...(activation && { activation }),
          ...(activation === 'prelu' && { preluActivationWeights: tf.tensor(values(7, 4), [7]) }),
        }),
      );
    },
  );

  it('leaves no tensor behind', () => {
    onBackend('native', () => {
      const [a, b, bias] = [matrix(3, 5, false, 1), matrix(5, 7, false, 2), tf.ones([7])];
      const before = tf.memory().numTensors;
      const { numDataBuffers } = tf.memory();
      tf.tidy(() => void tf.fused.matMul({ a, b, bias, activation: 'relu' }));
      expect(tf.memory()).toMatchObject({ numTensors: before, numDataBuffers });
    });
  });
});

it('broadcast indices count the smaller stack', () => {
  expect([...broadcastIndices([], [])]).toEqual([0]);
  expect([...broadcastIndices([3], [2, 3])]).toEqual([0, 1, 2, 0, 1, 2]);
  expect([...broadcastIndices([2, 1], [2, 3])]).toEqual([0, 0, 0, 1, 1, 1]);
  expect([...broadcastIndices([2, 1, 2], [2, 2, 2])]).toEqual([0, 1, 0, 1, 2, 3, 2, 3]);
});
