/** Letters through shared memory. */
import { describe, expect, it } from 'vitest';
import { runLocalRanks } from '../../testing/local-ranks.testing.ts';

describe('letters longer than any mailbox', () => {
  it.each([2, 3])('arrive whole where all %i ranks send first', async (worldSize) => {
    const url = new URL('../../testing/mail.testing.ts', import.meta.url);
    const results = await runLocalRanks<boolean>(worldSize, url, { length: 300_001 });
    expect(results).toEqual(results.map(() => true));
  });
});
