/** What must hold for every process group: one start of ranks for each group and world size, and everything checked in it. */
import { describe, expect, it } from 'vitest';
import { hasMpi } from '../testing/has-mpi.testing.ts';
import { runLocalRanks } from '../testing/local-ranks.testing.ts';
import { resultsOf, runRankProcesses } from '../testing/rank-processes.testing.ts';
import { missingFor } from './make-process-group.ts';

const conformance = new URL('../testing/conformance.testing.ts', import.meta.url);
/** Float32 arrays of this length cross the edges of chunks. */
const input = { longLength: 140_003 };
const shmMissing = await missingFor('shm');
if (shmMissing !== null) console.log(`The process groups 'shm' and 'shm+ws' are not tested: ${shmMissing}.`);

// The algorithm is that of `shm`, which is tested with two and three ranks as well.
describe('local', () => {
  it.each([1, 4])('is a process group, with %i ranks', async (worldSize) => {
    const checks = await runLocalRanks<number>(worldSize, conformance, input);
    expect(Math.min(...checks)).toBeGreaterThan(100);
  });
});

// The last is how many ranks are on each host.
describe.each([
  ['shm', [1, 2, 3, 4], shmMissing === null, 4],
  ['ws', [1, 2, 3], true, 4],
  ['mpi', [2, 3], await hasMpi(), 4],
  // One on the second host of two.
  ['shm+ws', [3, 4], shmMissing === null, 2],
  ['shm+ws', [3], shmMissing === null, 4],
] as const)('%s', (processGroup, worldSizes, isThere, ranksPerNode) => {
  it.runIf(isThere).each(worldSizes)('is a process group, with %i ranks', async (worldSize) => {
    const run = await runRankProcesses<number>(worldSize, conformance, input, {
      processGroup,
      ranksPerNode,
      timeoutMs: 120_000,
      collectiveTimeoutMs: 60_000,
      rankTimeoutMs: 30_000,
    });
    expect(Math.min(...resultsOf(run))).toBeGreaterThan(100);
  });
});
