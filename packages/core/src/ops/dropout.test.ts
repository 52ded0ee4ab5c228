import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { RandomGenerator } from '../random.ts';
import { tf, type Tensor } from '../tensors.ts';
import { dropout, dropoutMask } from './dropout.ts';
import { checkOp, values } from './reference.testing.ts';

describe.each(testBackends())('dropout on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('zeroes about its share and keeps the mean', () =>
    tf.tidy(() => {
      const y = dropout(tf.ones([100, 100]), 0.3, new RandomGenerator(1)).dataSync();
      const zeros = y.filter((v) => v === 0).length / y.length;
      expect(zeros).toBeGreaterThan(0.28);
      expect(zeros).toBeLessThan(0.32);
      expect(y.every((v) => v === 0 || v === Math.fround(1 / 0.7))).toBe(true);
    }));

  it('draws the same mask from the same state and another one next', () =>
    tf.tidy(() => {
      const random = new RandomGenerator(5);
      const [first, second] = [dropoutMask([50], 0.5, random).dataSync(), dropoutMask([50], 0.5, random).dataSync()];
      expect([...dropoutMask([50], 0.5, new RandomGenerator(5)).dataSync()]).toEqual([...first]);
      expect([...second]).not.toEqual([...first]);
    }));

  it('lets the gradient through where it let the value through', () => {
    const mask = tf.tidy(() => [...dropoutMask([4, 5], 0.4, new RandomGenerator(2)).dataSync()]);
    checkOp(
      [{ shape: [4, 5], data: values(20, 1) }],
      ([x]) => dropout(x as Tensor, 0.4, new RandomGenerator(2)),
      ([x]) => x!.map((v, i) => v * mask[i]!),
    );
  });

  it('does nothing at rate 0 and refuses rates out of range', () =>
    tf.tidy(() => {
      const x = tf.ones([2]);
      expect(dropout(x, 0, new RandomGenerator(1))).toBe(x);
      expect(() => dropout(x, 1, new RandomGenerator(1))).toThrow(/rate of dropout is 1/);
    }));
});
