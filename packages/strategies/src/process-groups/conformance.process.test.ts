/** What must hold for every process group between processes. */
import { describe, expect, it } from 'vitest';
import { resultsOf, runRankProcesses } from '../testing/rank-processes.testing.ts';

describe.each([['shm', 3], ['ws', 3], ['shm+ws', 4], ['mpi', 3]] as const)('%s of %i', (processGroup, worldSize) => {
  it('gives what plain loops give, for every call and element type', async () => {
    const url = new URL('../testing/calls.testing.ts', import.meta.url);
    const run = await runRankProcesses<number>(worldSize, url, { longLength: 100_003 }, { processGroup, timeoutMs: 60_000, ranksPerNode: processGroup === 'shm+ws' ? 2 : worldSize });
    expect(Math.min(...resultsOf(run))).toBeGreaterThan(100);
  });
});
