import { elementTypeOf, SingleProcessGroup } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { encode } from '../gradient-exchange/wire-format.ts';
import { allocateTravel, BufferPool, decodeInto, part } from './travel.ts';

const group = new SingleProcessGroup();

describe('what travels', () => {
  it.each([
    ['float32', [1, -2.5, 1 / 3]],
    ['float16', [1, -2.5, 0.333251953125]],
    ['bfloat16', [1, -2.5, 0.333984375]],
  ] as const)('is rounded to %s and comes back', (storage, expected) => {
    const buffer = allocateTravel(group, storage, 5);
    encode(buffer, 1, Float32Array.of(1, -2.5, 1 / 3));
    const back = new Float32Array(4);
    decodeInto(back, 1, buffer, 1, 3, storage);
    expect([...back]).toEqual([0, ...Float32Array.from(expected)]);
  });

  it('is scaled on its way as halves', () => {
    const buffer = allocateTravel(group, 'float16', 1);
    encode(buffer, 0, Float32Array.of(80_000), 1 / 8);
    const back = new Float32Array(1);
    decodeInto(back, 0, buffer, 0, 1, 'float16', 8);
    expect(back[0]).toBe(80_000);
  });

  it('goes in buffers that are used again if they are of the type and long enough', () => {
    const pool = new BufferPool(group);
    pool.keepUpTo(100);
    const first = pool.take('float32', 80);
    pool.give(first);
    const second = pool.take('float32', 50);
    expect([second.buffer, second.length]).toEqual([first.buffer, 50]);
    const half = pool.take('bfloat16', 10);
    expect([elementTypeOf(half), elementTypeOf(part(half, 2, 3)), pool.bytes]).toEqual(['bfloat16', 'bfloat16', 340]);
    pool.give(second);
    pool.give(half);
    const large = pool.take('float32', 1000);
    pool.give(large);
    expect(pool.bytes).toBe(340);
  });
});
