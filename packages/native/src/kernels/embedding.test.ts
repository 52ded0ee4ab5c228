import { backward, embeddingLookup, Parameter, tf, type RowSparse, type Scalar } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, storageCodes } from '../addon.ts';
import { nativeBackend } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { onBackend, values } from './compare.testing.ts';

/** What is found, and the rows of the gradient of a weighted sum of it after two backwards, with their numbers. */
function run(ids: readonly number[], rows: number, width: number): number[][] {
  const table = new Parameter(tf.tensor(values(rows * width, 1), [rows, width]));
  let found: number[] = [];
  for (const seed of [2, 3]) {
    const { y, loss } = backward(
      () => {
        const y = embeddingLookup(table, tf.tensor2d([...ids], [1, ids.length], 'int32'));
        return { y, loss: tf.sum(tf.mul(y, tf.tensor(values(y.size, seed), y.shape))) as Scalar };
      },
      { parameters: [table] },
    );
    expect(y.shape).toEqual([1, ids.length, width]);
    found = [...y.dataSync()];
    tf.dispose([y, loss]);
  }
  const gradient = table.grad as RowSparse;
  const result = [found, [...gradient.indices], [...gradient.rows.dataSync()]];
  table.dispose();
  return result;
}

describe.skipIf(!nativeIsBuilt)('EmbeddingLookup on native', () => {
  beforeAll(activateNative);

  it('finds the rows and sums gradients as other backends do, to the last bit', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 50 }),
        fc.integer({ min: 1, max: 70 }),
        (ids, width) => {
          expect(onBackend('native', () => run(ids, 9, width))).toEqual(onBackend('cpu', () => run(ids, 9, width)));
        },
      ),
      { numRuns: 40 },
    );
    const ids = Array.from({ length: 1023 }, (_, i) => (i * i) % 101);
    expect(onBackend('native', () => run(ids, 101, 33))).toEqual(onBackend('cpu', () => run(ids, 101, 33)));
  });

  it('stores rows as activations are stored', () => {
    onBackend('native', () => {
      const table = new Parameter(tf.tensor2d([1 / 3, 2, 3, 4], [2, 2]));
      nativeBackend().activationStorage = storageCodes.bfloat16;
      try {
        const rows = embeddingLookup(table, tf.tensor1d([1, 0], 'int32'));
        expect(addon().storageOf(nativeBackend().handle(rows))).toBe(storageCodes.bfloat16);
        expect([...rows.dataSync()]).toEqual([3, 4, 0.333984375, 2]);
      } finally {
        nativeBackend().activationStorage = storageCodes.float32;
      }
      table.dispose();
    });
  });

  it('leaves the table where it is, in memory once, and changes it there', () => {
    onBackend('native', () => {
      const bytes = (): number => addon().memoryUsage().total.currentBytes;
      const before = bytes();
      const table = new Parameter(tf.zeros([1000, 64]));
      const ids = tf.tensor1d([5], 'int32');
      embeddingLookup(table, ids).dispose();
      const rows = table.hostData();
      table.updateOnHost((data) => data.fill(7, 5 * 64, 6 * 64));
      expect(table.onHost).toBe(true);
      expect(rows[5 * 64]).toBe(7);
      expect(table.value.dataSync()[5 * 64]).toBe(7);
      table.updateOnHost((data) => expect(data).toBe(rows));
      expect(embeddingLookup(table, ids).dataSync()[0]).toBe(7);
      expect(bytes() - before).toBeLessThan(1.1 * 4 * table.size);
      table.dispose();
    });
  });

  it('never changes a clone of the table', () => {
    onBackend('native', () => {
      const table = new Parameter(tf.zeros([2, 2]));
      table.hostData();
      const clone = table.value.clone();
      table.updateOnHost((data) => data.fill(1));
      expect([...clone.dataSync()]).toEqual([0, 0, 0, 0]);
      expect([...table.value.dataSync()]).toEqual([1, 1, 1, 1]);
      table.updateOnHost((data) => data.fill(2));
      expect([...table.value.dataSync()]).toEqual([2, 2, 2, 2]);
      table.dispose();
    });
  });

  it('leaves no tensor behind', () => {
    onBackend('native', () => {
      const before = tf.memory().numTensors;
      run([1, 1, 0], 2, 3);
      expect(tf.memory().numTensors).toBe(before);
    });
  });
});
