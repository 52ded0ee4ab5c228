import { expect, it } from 'vitest';
import { alibiSlopes } from './alibi.ts';

it('starts at 2^(-8/heads) and falls geometrically for powers of two', () => {
  expect([...alibiSlopes(8)]).toEqual([0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
});

it('takes every other slope of the next power of two for the heads beyond', () => {
  // transformers' build_alibi_tensor for 6 heads: 4 slopes of 4, then slopes 0 and 2 of 8.
  expect([...alibiSlopes(6)]).toEqual([0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
  expect(alibiSlopes(5)).toHaveLength(5);
  expect(alibiSlopes(112)).toHaveLength(112);
});
