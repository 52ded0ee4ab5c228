/** The `local` process group: every call, over threads. */
import { describe, expect, it } from 'vitest';
import { runLocalRanks } from '../../testing/local-ranks.testing.ts';

describe.each([1, 2, 3, 4])('a local group of %i', (worldSize) => {
  it('gives what plain loops give, for every call and element type', async () => {
    const url = new URL('../../testing/calls.testing.ts', import.meta.url);
    const checks = await runLocalRanks<number>(worldSize, url, { longLength: 400_003 });
    expect(Math.min(...checks)).toBeGreaterThan(100);
  });
});
