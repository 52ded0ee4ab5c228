/** What happens when a rank dies, stops, stays away or leaves: every other rank fails, and says who it was. */
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runRankProcesses, type RankProcessResults } from '../testing/rank-processes.testing.ts';
import { missingFor } from './make-process-group.ts';

const faults = new URL('../testing/faults.testing.ts', import.meta.url);
const hasShm = (await missingFor('shm')) === null;
if (!hasShm) console.log("The process groups 'shm' and 'shm+ws' are not tested here.");

/** Beyond a timeout: generous, since a busy machine must not fail this, and far from any other timeout here. */
const MARGIN_MS = 10_000;

function leftovers(): string[] {
  return hasShm
    ? readdirSync('/dev/shm').filter((name) => name.includes('tensorloom') && name.includes('test-faults'))
    : [];
}

/** All but `lost` tell the same code, and name it and no other. */
function expectTold(run: RankProcessResults<unknown>, lost: number, code: string): void {
  run.errors.forEach((error, rank) => {
    if (rank === lost) return;
    expect(error?.code, `rank ${rank}: ${run.outputs[rank]}`).toBe(code);
    expect(error?.message).toMatch(new RegExp(`\\branks? ${lost} (is lost|has left|did not come)`, 'i'));
    expect(run.exitCodes[rank]).toBe(1);
  });
}

describe.each([
  ['shm', 3],
  ['shm+ws', 4],
] as const)('%s', (processGroup, worldSize) => {
  const isThere = hasShm;
  const base = {
    processGroup,
    ranksPerNode: processGroup === 'shm+ws' ? 2 : worldSize,
    timeoutMs: 150_000,
    collectiveTimeoutMs: 60_000,
    rankTimeoutMs: 20_000,
  };

  it.runIf(isThere).each([0, 1])(
    'a rank that is killed in the middle of all-reduces is told by all others: rank %i',
    async (lost) => {
      const run = await runRankProcesses(worldSize, faults, 'reduce for ever', {
        ...base,
        env: { TENSORLOOM_JOB_ID: `test-faults-${process.pid}-${processGroup.replace('+', '-')}-${lost}` },
        onNote: (rank, text, pids) => {
          if (rank === lost && text === 'reducing') process.kill(pids[lost] as number, 'SIGKILL');
        },
      });
      expectTold(run, lost, 'RANK_LOST');
      expect(leftovers()).toEqual([]);
    },
  );

  it.runIf(isThere)('a rank that is stopped is told by all others within the rank timeout', async () => {
    const lost = 1;
    // It is also the time in which ranks must have met.
    const rankTimeoutMs = 10_000;
    let stoppedAt = Infinity;
    const failedAt: number[] = [];
    let isStopped = false;
    const run = await runRankProcesses(worldSize, faults, 'reduce for ever', {
      ...base,
      rankTimeoutMs,
      onNote: (rank, text, pids) => {
        if (text === 'failed') failedAt.push(performance.now());
        if (rank === lost && !isStopped) {
          process.kill(pids[lost] as number, 'SIGSTOP');
          [isStopped, stoppedAt] = [true, performance.now()];
        }
        // Only now, so that no other has failed for another reason than its silence.
        if (failedAt.length === worldSize - 1) process.kill(pids[lost] as number, 'SIGKILL');
      },
    });
    expectTold(run, lost, 'RANK_LOST');
    expect(failedAt).toHaveLength(worldSize - 1);
    for (const at of failedAt) expect(at - stoppedAt).toBeLessThan(rankTimeoutMs + MARGIN_MS);
  });

  // Where rank 0 is late, the clocks of those that wait for it run out before the clock of rank 0, which waits for rank 1.
  it.runIf(isThere).each(['rank 1 stays away', 'rank 1 stays away, rank 0 comes late'])(
    'a rank that lives and does not come is told by all others: %s',
    async (what) => {
      let failed = 0;
      const run = await runRankProcesses(worldSize, faults, what, {
        ...base,
        collectiveTimeoutMs: 3000,
        onNote: (_, text, pids) => {
          if (text === 'failed' && ++failed === worldSize - 1) process.kill(pids[1] as number, 'SIGKILL');
        },
      });
      expectTold(run, 1, 'TIMEOUT');
    },
  );

  it.runIf(isThere)('an abort ends all ranks with its reason', async () => {
    const run = await runRankProcesses(worldSize, faults, 'rank 1 aborts', base);
    run.errors.forEach((error, rank) => {
      expect(error?.code, `rank ${rank}`).toBe('ABORTED');
      expect(error?.message).toContain('the data are bad');
    });
  });

  it.runIf(isThere)('ranks that wait for one that never starts say so', async () => {
    const run = await runRankProcesses(worldSize, faults, 'never', {
      ...base,
      // The others must be started within it.
      rankTimeoutMs: 8000,
      env: { TENSORLOOM_TEST_ABSENT: '1' },
    });
    expectTold(run, 1, 'TIMEOUT');
  });
});
