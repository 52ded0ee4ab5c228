/** What must hold for every process group between processes. */
import { describe, expect, it } from 'vitest';
import { resultsOf, runRankProcesses } from '../testing/rank-processes.testing.ts';

describe.each([2, 3])('a shm group of %i', (worldSize) => {
  it('gives what plain loops give, for every call and element type', async () => {
    const url = new URL('../testing/calls.testing.ts', import.meta.url);
    const run = await runRankProcesses<number>(
      worldSize,
      url,
      { longLength: 400_003 },
      { processGroup: 'shm', timeoutMs: 60_000 },
    );
    expect(Math.min(...resultsOf(run))).toBeGreaterThan(100);
  });
});
