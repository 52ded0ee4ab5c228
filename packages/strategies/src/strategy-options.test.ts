import { strategies, TensorloomError } from '@tensorloom/core';
import { expect, it } from 'vitest';
import './index.ts';

it.each(['ddp', 'zero1', 'zero2'])('%s is for several devices', (name) => {
  expect(strategies.get(name).reach).toBe('multi');
  expect(strategies.get(name).create({ accumulate: 3, bucketMegabytes: 0.5 }).name).toBe(name);
});

it.each<[string, Record<string, unknown>, RegExp]>([
  ['ddp', { accumulate: 0 }, /Strategy 'ddp': accumulate must be at least 1; got 0/],
  ['ddp', { bucketMegabytes: -1 }, /bucketMegabytes must be above 0; got -1/],
  ['ddp', { compression: 'int8' }, /compression must be one of none, float16, bfloat16; got "int8"/],
  ['zero1', { reduceEachMicroBatch: true }, /no option 'reduceEachMicroBatch' \(it has: accumulate, bucketMegabytes\)/],
  ['zero2', { reduceEachMicroBatch: 1 }, /reduceEachMicroBatch must be true or false; got 1/],
  ['zero2', { accumulate: 1.5, other: 1 }, /accumulate must be a whole number.*no option 'other'/],
])('%s refuses %j', (name, options, message) => {
  const create = (): unknown => strategies.get(name).create(options);
  expect(create).toThrow(TensorloomError);
  expect(create).toThrow(message);
});
