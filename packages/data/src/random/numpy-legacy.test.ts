import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { legacyPermutation } from './numpy-legacy.ts';

const reference = JSON.parse(readFileSync(new URL('../fixtures/numpy-permutations.json', import.meta.url), 'utf8')) as {
  permutations: { seed: number; length: number; order: number[] }[];
};

describe('legacyPermutation', () => {
  it.each(reference.permutations)(
    'is that of numpy.random.RandomState($seed).permutation($length)',
    ({ seed, length, order }) => {
      expect([...legacyPermutation(seed, length)]).toEqual(order);
    },
  );

  it('of nothing is nothing', () => {
    expect(legacyPermutation(0, 0)).toHaveLength(0);
  });
});
