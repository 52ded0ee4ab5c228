import { backward, bloomAttention, Parameter, RandomGenerator, tf, type Scalar, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, storageCodes } from '../addon.ts';
import { nativeBackend } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { expectClose, onBackend, values } from './compare.testing.ts';

interface Case {
  readonly batch: number;
  readonly seq: number;
  readonly heads: number;
  readonly dim: number;
  readonly mask: readonly number[];
  readonly rate?: number;
}

/** The context, and the gradient of a weighted sum of it. */
function run({ batch, seq, heads, dim, mask, rate = 0 }: Case): [context: Float32Array, gradient: Float32Array] {
  const width = heads * 3 * dim;
  const fusedQkv = new Parameter(tf.tensor(values(batch * seq * width, 1), [batch, seq, width]));
  const slopes = Float32Array.from({ length: heads }, (_, h) => 2 ** -(h + 1));
  const { y, loss } = backward(
    () => {
      const y = bloomAttention(fusedQkv.value, slopes, tf.tensor2d([...mask], [batch, seq], 'int32'), {
        heads,
        dropout: { rate, random: new RandomGenerator(11) },
      });
      return { y, loss: tf.sum(tf.mul(y, tf.tensor(values(y.size, 4), y.shape))) as Scalar };
    },
    { parameters: [fusedQkv] },
  );
  const results = [y, fusedQkv.grad as Tensor].map((t) => t.dataSync() as Float32Array);
  tf.dispose([y, loss]);
  fusedQkv.dispose();
  return results as [Float32Array, Float32Array];
}

function compare(test: Case, tolerance = 1e-5): void {
  const expected = onBackend('cpu', () => run(test));
  const actual = onBackend('native', () => run(test));
  expectClose(actual[0], expected[0], tolerance);
  expectClose(actual[1], expected[1], tolerance);
}

const whole = (tokens: number): number[] => Array<number>(tokens).fill(1);
const padded = (seq: number, left: number, right: number): number[] =>
  whole(seq)
    .fill(0, 0, left)
    .fill(0, seq - right);

describe.skipIf(!nativeIsBuilt)('BloomAttention on native', () => {
  beforeAll(activateNative);

  it("equals the composite on tfjs's CPU backend, with its gradient, for any mask", () => {
    const size = fc.integer({ min: 1, max: 3 });
    const bits = fc.array(fc.constantFrom(0, 1), { minLength: 90, maxLength: 90 });
    fc.assert(
      fc.property(
        size,
        fc.integer({ min: 1, max: 30 }),
        size,
        fc.integer({ min: 1, max: 20 }),
        bits,
        fc.constantFrom(0, 0.3),
        (batch, seq, heads, dim, mask, rate) =>
          compare({ batch, seq, heads, dim, mask: mask.slice(0, batch * seq), rate }),
      ),
      { numRuns: 40 },
    );
  });

  it.each([
    [1, 16, 64],
    [7, 3, 8],
    [33, 16, 16],
    [255, 3, 64],
    [1023, 2, 8],
  ])('is right for %i tokens, %i heads of %i', (seq, heads, dim) => {
    // The composite adds up to 511.5 to scores, and so rounds them more than the kernel, which counts positions from near the query.
    compare({ batch: 1, seq, heads, dim, mask: whole(seq) }, 3e-5);
  });

  it('is right with padding on the left, on the right, and with nothing but padding', () => {
    const mask = [...padded(130, 100, 0), ...padded(130, 0, 100), ...padded(130, 0, 130)];
    compare({ batch: 3, seq: 130, heads: 2, dim: 8, mask });
    compare({ batch: 3, seq: 130, heads: 2, dim: 8, mask, rate: 0.2 });
  });

  it('stores the context as activations are stored', () => {
    const test = { batch: 1, seq: 40, heads: 2, dim: 16, mask: whole(40) };
    const expected = onBackend('cpu', () => run(test));
    onBackend('native', () => {
      for (const [storage, tolerance] of [
        [storageCodes.float16, 1e-3],
        [storageCodes.bfloat16, 8e-3],
      ] as const) {
        nativeBackend().activationStorage = storage;
        try {
          const actual = run(test);
          expectClose(actual[0], expected[0], tolerance);
          expectClose(actual[1], expected[1], tolerance);
          expect(actual[0]).not.toEqual(expected[0]);
        } finally {
          nativeBackend().activationStorage = storageCodes.float32;
        }
      }
    });
  });

  it('holds no more for backward than its operands and a number for each row', () => {
    onBackend('native', () => {
      const [seq, heads, dim] = [200, 2, 8];
      const fusedQkv = new Parameter(tf.zeros([1, seq, heads * 3 * dim]));
      const mask = tf.ones([1, seq], 'int32');
      for (const operand of [fusedQkv.value, mask]) nativeBackend().handle(operand);
      const bytes = (): number => addon().memoryUsage().total.currentBytes;
      const before = bytes();
      let held = 0;
      const { loss } = backward(
        () => {
          const y = bloomAttention(fusedQkv.value, new Float32Array(heads), mask, { heads });
          held = bytes() - before - y.size * 4;
          return { loss: tf.sum(y) as Scalar };
        },
        { parameters: [fusedQkv] },
      );
      expect(held).toBe(seq * heads * 4);
      loss.dispose();
      fusedQkv.dispose();
    });
  });

  it('leaves no tensor behind', () => {
    onBackend('native', () => {
      const before = tf.memory().numTensors;
      run({ batch: 1, seq: 4, heads: 2, dim: 4, mask: whole(4), rate: 0.1 });
      expect(tf.memory().numTensors).toBe(before);
    });
  });
});
