import { elementTypeOf, SingleProcessGroup } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { encode } from '../gradient-exchange/wire-format.ts';
import { decodeInto, part } from './travel.ts';

const group = new SingleProcessGroup();

describe('what travels', () => {
  it.each([
    ['float32', [1, -2.5, 1 / 3]],
    ['float16', [1, -2.5, 0.333251953125]],
    ['bfloat16', [1, -2.5, 0.333984375]],
  ] as const)('is rounded to %s and comes back', (storage, expected) => {
    const buffer = group.allocate(storage, 5);
    encode(buffer, 1, Float32Array.of(1, -2.5, 1 / 3));
    const back = new Float32Array(4);
    decodeInto(back, 1, buffer, 1, 3, storage);
    expect([...back]).toEqual([0, ...Float32Array.from(expected)]);
  });

  it('is scaled on its way as halves', () => {
    const buffer = group.allocate('float16', 1);
    encode(buffer, 0, Float32Array.of(80_000), 1 / 8);
    const back = new Float32Array(1);
    decodeInto(back, 0, buffer, 0, 1, 'float16', 8);
    expect(back[0]).toBe(80_000);
  });

  it('has parts in the same memory', () => {
    const half = group.allocate('bfloat16', 10);
    const piece = part(half, 2, 3);
    expect([elementTypeOf(piece), piece.byteOffset, piece.length, piece.buffer === half.buffer]).toEqual([
      'bfloat16',
      4,
      3,
      true,
    ]);
  });
});
