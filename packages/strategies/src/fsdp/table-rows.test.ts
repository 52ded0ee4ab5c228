import { RowSparse, SingleProcessGroup, tf } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { RowPartition } from './row-partition.ts';
import { exchangeRowGradients, gatherRows } from './table-rows.ts';

const group = new SingleProcessGroup();
const partition = new RowPartition([4, 2], 1);
const table = Float32Array.of(0, 1, 10, 11, 20, 21, 30, 31);
const wire = { storage: 'float32', divisor: 1, pool: new BufferPool(group) } as const;

describe('rows of a table', () => {
  beforeAll(() => tf.setBackend('cpu'));

  it('come in the order in which they were asked for, repeated where they were', () => {
    const rows = gatherRows(group, partition, table, Int32Array.of(3, 0, 3), wire);
    expect([...rows]).toEqual([30, 31, 0, 1, 30, 31]);
    expect(gatherRows(group, partition, table, new Int32Array(0), wire)).toHaveLength(0);
  });

  it('get their gradients, also one without any rows, and none where there is none', () => {
    const gradient = new RowSparse(Int32Array.of(1, 2), tf.tensor2d([1, 2, 3, 4], [2, 2]), 4);
    const sum = exchangeRowGradients(group, partition, gradient, wire) as RowSparse;
    expect([[...sum.indices], [...sum.rows.dataSync()], sum.numRows]).toEqual([[1, 2], [1, 2, 3, 4], 4]);
    const empty = new RowSparse(new Int32Array(0), tf.tensor2d([], [0, 2]), 4);
    expect(exchangeRowGradients(group, partition, empty, wire)?.shape).toEqual([4, 2]);
    expect(exchangeRowGradients(group, partition, null, wire)).toBeNull();
    for (const each of [gradient, sum, empty]) each.dispose();
  });
});
