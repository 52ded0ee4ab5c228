import { expect, it } from 'vitest';
import { planShards } from './shards.ts';

const sizes = new Map([
  ['a', 40],
  ['b', 40],
  ['c', 200],
  ['d', 40],
  ['e', 100],
]);

it('fills shards in order and gives an oversized tensor its own', () => {
  const plan = planShards(sizes, 100);
  expect(plan.totalBytes).toBe(420);
  expect(plan.shards.map((shard) => shard.names)).toEqual([['c'], ['a', 'b'], ['d'], ['e']]);
  expect(plan.shards.map((shard) => shard.fileName)).toEqual(
    [1, 2, 3, 4].map((n) => `model-0000${n}-of-00004.safetensors`),
  );
});

it('is one plain file where all fits', () => {
  expect(planShards(sizes, 420).shards).toEqual([{ fileName: 'model.safetensors', names: ['a', 'b', 'c', 'd', 'e'] }]);
});
