import { Parameter, RowSparse, SingleProcessGroup, tf, viewOf } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { BucketLayout } from './bucket-layout.ts';
import { BufferPool } from './buffer-pool.ts';
import { FIRST_BUCKET_BYTES, planBuckets } from './plan-buckets.ts';
import { sumTables } from './row-sums.ts';
import { decode, encode } from './wire-format.ts';

beforeAll(() => tf.setBackend('cpu'));

const parameter = (shape: number[]): Parameter => new Parameter(tf.zeros(shape));
const counting = (size: number): Float32Array => Float32Array.from({ length: size }, (_, i) => i + 1);

describe('buckets', () => {
  it('take parameters from the last one on, the first bucket being smaller, and split none', () => {
    const mega = FIRST_BUCKET_BYTES / 4;
    const sizes = [3 * mega, mega, mega, mega / 2, mega / 2];
    const parameters = sizes.map((size) => parameter([size]));
    const plan = planBuckets(parameters, 2 * FIRST_BUCKET_BYTES, 4);
    expect(plan.map((bucket) => bucket.map((each) => parameters.indexOf(each)))).toEqual([[4, 3], [2, 1], [0]]);
    expect(planBuckets([], 100, 4)).toEqual([]);
  });

  it('hold each rank’s rows in its own section, and give them back', () => {
    const [matrix, scalar, absent] = [parameter([5, 2]), parameter([]), parameter([3])];
    const layout = new BucketLayout([matrix, scalar, absent], { worldSize: 2 });
    // Rows 0-2, the scalar, rows 0-1 and three flags; rows 3-4, row 2 and three flags.
    expect(layout.counts).toEqual([6 + 1 + 2 + 3, 4 + 0 + 1 + 3]);
    const buffer = new Float32Array(layout.length).fill(9);
    layout.put(buffer, 0, counting(10));
    layout.put(buffer, 1, counting(1), 3);
    layout.put(buffer, 2, null);
    expect([...(layout.get(buffer, 0, 0) ?? [])]).toEqual([1, 2, 3, 4, 5, 6]);
    const second = buffer.subarray(layout.counts[0]);
    expect([...(layout.get(second, 1, 0, 0.5) ?? [])]).toEqual([3.5, 4, 4.5, 5]);
    expect([...(layout.get(buffer, 0, 1) ?? [])]).toEqual([3]);
    expect([...(layout.get(second, 1, 1) ?? [])]).toEqual([]);
    expect([layout.get(buffer, 0, 2), layout.get(second, 1, 2)]).toEqual([null, null]);
    expect([...layout.whole(buffer, 0)]).toEqual([...counting(10)]);
    layout.putSection(second, 1, 0, Float32Array.of(20, 21, 22, 23));
    expect([...layout.whole(buffer, 0)]).toEqual([1, 2, 3, 4, 5, 6, 20, 21, 22, 23]);
  });

  it('are one section where all ranks get the sum', () => {
    const layout = new BucketLayout([parameter([3, 2]), parameter([2])], 'one');
    expect(layout.counts).toEqual([6 + 2 + 2]);
    const buffer = new Float32Array(layout.length);
    layout.put(buffer, 0, null);
    layout.put(buffer, 1, counting(2));
    expect(layout.get(buffer, 0, 0)).toBeNull();
    expect([...(layout.get(buffer, 0, 1) ?? [])]).toEqual([1, 2]);
  });

  it('carry halves, rounded', () => {
    for (const [array, expected] of [
      [viewOf('float16', new ArrayBuffer(6), 0, 3), [0, 1.0009765625, -2.5]],
      [viewOf('bfloat16', new ArrayBuffer(6), 0, 3), [0, 1, -2.5]],
    ] as const) {
      encode(array, 1, Float32Array.of(0.50048828125, -1.25), 2);
      expect([...decode(array, 0, 3)]).toEqual(expected);
      expect(decode(array, 2, 1, 4)[0]).toBe(-10);
    }
  });

  it('come from a pool that uses buffers again', () => {
    const pool = new BufferPool(new SingleProcessGroup());
    const [large, small] = [pool.take('float32', 10), pool.take('float32', 4)];
    expect(pool.bytes).toBe(56);
    pool.give(large);
    expect(pool.take('float32', 8).buffer).toBe(large.buffer);
    pool.give(small);
    // Too small for it: replaced.
    expect(pool.take('int32', 6)).toHaveLength(6);
    expect(pool.bytes).toBe(64);
    // Far too large for it: that one is for others.
    const huge = pool.take('float32', 1e6);
    pool.give(huge);
    expect(pool.take('float32', 1e5).buffer).not.toBe(huge.buffer);
    expect(pool.take('bfloat16', 1e6).buffer).toBe(huge.buffer);
  });

  it('are not needed anew for every step’s rows of a table', async () => {
    const group = new SingleProcessGroup();
    let allocations = 0;
    const allocate: typeof group.allocate = group.allocate.bind(group);
    group.allocate = (type, length) => {
      allocations++;
      return allocate(type, length);
    };
    const pool = new BufferPool(group);
    const table = parameter([100, 4]);
    for (let step = 0; step < 50; step++) {
      const count = 1 + ((step * 37) % 90);
      const rows = Int32Array.from({ length: count }, (_, i) => i);
      table.zeroGrad();
      table.grad = new RowSparse(rows, tf.fill([count, 4], step), 100);
      await sumTables(group, [table], pool, 'none');
      const sum = table.grad as unknown as RowSparse;
      expect([[...sum.indices], [...sum.rows.dataSync()]]).toEqual([[...rows], new Array(4 * count).fill(step)]);
    }
    expect(allocations).toBeLessThan(15);
  });
});
