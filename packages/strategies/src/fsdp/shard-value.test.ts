import { Parameter, SingleProcessGroup, tf, type Tensor } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { shardValue } from './shard-value.ts';

describe('sharing out a parameter', () => {
  it('sends more than fits into a message in several, and gives one rank all of it', async () => {
    await tf.setBackend('cpu');
    const values = Float32Array.from({ length: 1_100_000 }, (_, i) => i);
    const parameter = new Parameter(tf.tensor2d(values, [100_000, 11]));
    parameter.name = 'table';
    const { shard, partition } = await shardValue(parameter, {
      group: new SingleProcessGroup(),
      makeTensors: (fn) => fn(),
    });
    expect(partition.counts).toEqual([1_100_000]);
    expect(shard?.placement).toEqual({ firstRow: 0, wholeShape: [100_000, 11] });
    expect(shard?.value.shape).toEqual([100_000, 11]);
    const kept = (shard?.value as Tensor).dataSync();
    expect(kept.findIndex((value, i) => value !== values[i])).toBe(-1);
    parameter.dispose();
    shard?.dispose();
  });
});
