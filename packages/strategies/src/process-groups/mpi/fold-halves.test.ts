/** Reductions of halves. */
import { expect, it } from 'vitest';
import { halves } from '../halves.ts';
import { foldHalves } from './fold-halves.ts';

function fold(
  op: 'sum' | 'mean' | 'max' | 'min' | 'product',
  type: 'float16' | 'bfloat16',
  ...ranks: number[][]
): number[] {
  const { encode, table } = halves[type] as { encode: (value: number) => number; table: Float32Array };
  const result = new Uint16Array(ranks[0]!.length);
  foldHalves(Uint16Array.from(ranks.flat(), encode), result, op, type);
  return [...result].map((bits) => table[bits]!);
}

it.each(['float16', 'bfloat16'] as const)('reduces %s as numbers', (type) => {
  expect(fold('sum', type, [1, -2], [3, 0.5])).toEqual([4, -1.5]);
  expect(fold('mean', type, [1, -2], [3, 0.5])).toEqual([2, -0.75]);
  expect(fold('max', type, [1, -2], [3, 0.5])).toEqual([3, 0.5]);
  expect(fold('min', type, [1, -2], [3, 0.5])).toEqual([1, -2]);
  expect(fold('product', type, [1, -2], [3, 0.5])).toEqual([3, -1]);
});

it('rounds once: what each addition alone would lose adds up', () => {
  // Halves near 2048 are 2 apart: in half precision 2048 + 1 is 2048, however often.
  expect(fold('sum', 'float16', [2048], [1], [1], [1], [1])).toEqual([2052]);
});

it('does not overflow on the way to a mean', () => {
  expect(fold('mean', 'float16', [60000], [60000])).toEqual([halves.float16.decode(halves.float16.encode(60000))]);
});
