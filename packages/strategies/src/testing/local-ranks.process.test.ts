/** Ranks as threads. */
import { describe, expect, it } from 'vitest';
import { runLocalRanks } from './local-ranks.testing.ts';

describe('runLocalRanks', () => {
  it('returns the result of each rank', async () => {
    const results = await runLocalRanks<number[]>(3, new URL('./sum.testing.ts', import.meta.url), { length: 5 });
    expect(results).toEqual([1, 2, 3].map(() => [6, 6, 6, 6, 6]));
  });

  it('lets a rank end while others still take what it has sent', async () => {
    const results = await runLocalRanks<number>(2, new URL('./early-end.testing.ts', import.meta.url));
    expect(results).toEqual([0, 7]);
  });
});
