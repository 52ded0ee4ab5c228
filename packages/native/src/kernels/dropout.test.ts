import { backward, dropout, Parameter, RandomGenerator, tf, type Scalar, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { onBackend, values } from './compare.testing.ts';

/** What is left of values, and the gradient. */
function run(size: number, rate: number, seed: number): Float32Array[] {
  const x = new Parameter(tf.tensor(values(size, 1), [1, size]));
  const { y, loss } = backward(
    () => {
      const y = dropout(x.value, rate, new RandomGenerator(seed));
      return { y, loss: tf.sum(tf.mul(y, tf.tensor(values(size, 2), [1, size]))) as Scalar };
    },
    { parameters: [x] },
  );
  const results = [y, x.grad as Tensor].map((t) => t.dataSync() as Float32Array);
  tf.dispose([y, loss]);
  x.dispose();
  return results;
}

describe.skipIf(!nativeIsBuilt)('Dropout on native', () => {
  beforeAll(activateNative);

  it('drops what the composite drops, to the last bit, with the gradient', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20_000 }),
        fc.double({ min: 1e-9, max: 1 - 1e-9, noNaN: true }),
        fc.integer(),
        (size, rate, seed) => {
          expect(onBackend('native', () => run(size, rate, seed))).toEqual(
            onBackend('cpu', () => run(size, rate, seed)),
          );
        },
      ),
      { numRuns: 20 },
    );
  });
});
