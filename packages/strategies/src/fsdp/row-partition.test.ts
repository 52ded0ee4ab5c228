import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RowPartition } from './row-partition.ts';

describe('a row partition', () => {
  it('gives each row to one rank, in order, the last ranks fewer or none', () => {
    const partition = new RowPartition([5, 3], 4);
    expect([0, 1, 2, 3].map((rank) => [partition.firstRow(rank), partition.rowsOf(rank)])).toEqual([
      [0, 2],
      [2, 2],
      [4, 1],
      [5, 0],
    ]);
    expect(partition.counts).toEqual([6, 6, 3, 0]);
    expect(partition.shapeOf(2)).toEqual([1, 3]);
  });

  it('takes a scalar for one row', () => {
    const partition = new RowPartition([], 2);
    expect([partition.counts, partition.shapeOf(0)]).toEqual([[1, 0], []]);
  });

  it('knows the owner of every row, for any number of rows and ranks', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 20 }), (numRows, worldSize) => {
        const partition = new RowPartition([numRows, 2], worldSize);
        expect(partition.counts.reduce((a, b) => a + b, 0)).toBe(2 * numRows);
        for (let row = 0; row < numRows; row++) {
          const owner = partition.ownerOf(row);
          expect(row).toBeGreaterThanOrEqual(partition.firstRow(owner));
          expect(row).toBeLessThan(partition.firstRow(owner) + partition.rowsOf(owner));
        }
      }),
    );
  });
});
