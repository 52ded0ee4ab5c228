/** Ranks as threads. */
import { describe, expect, it } from 'vitest';
import { runLocalRanks } from './local-ranks.testing.ts';

describe('runLocalRanks', () => {
  it('returns the result of each rank', async () => {
    const results = await runLocalRanks<number[]>(3, new URL('./sum.testing.ts', import.meta.url), { length: 5 });
    expect(results).toEqual([1, 2, 3].map(() => [6, 6, 6, 6, 6]));
  });
});
