import { describe, expect, it } from 'vitest';
import { resultsOf, runRankProcesses } from '../testing/rank-processes.testing.ts';
import { missingFor } from './make-process-group.ts';

const scenario = new URL('./group-name.testing.ts', import.meta.url);
const hasShm = (await missingFor('shm')) === null;

describe('auto on several hosts', () => {
  it.runIf(hasShm)(
    'shares memory within a host of two ranks, also in the eyes of one that is alone on its host',
    async () => {
      const run = await runRankProcesses<string>(3, scenario, null, {
        processGroup: 'auto',
        ranksPerNode: 2,
        timeoutMs: 150_000,
      });
      expect(resultsOf(run)).toEqual(['shm+ws 6', 'shm+ws 6', 'shm+ws 6']);
    },
  );

  it('is WebSockets alone where each rank has a host of its own', async () => {
    const run = await runRankProcesses<string>(2, scenario, null, {
      processGroup: 'auto',
      ranksPerNode: 1,
      timeoutMs: 150_000,
    });
    expect(resultsOf(run)).toEqual(['ws 3', 'ws 3']);
  });
});
