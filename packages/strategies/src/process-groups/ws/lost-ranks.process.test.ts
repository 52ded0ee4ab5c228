/** Processes of ranks that are killed or stopped in the middle of all-reduces over WebSockets: all others name them, and end. */
import { describe, expect, it } from 'vitest';
import { runRankProcesses } from '../../testing/rank-processes.testing.ts';

const SCENARIO = new URL('./lost-ranks.testing.ts', import.meta.url);
const WORLD_SIZE = 3;

/** Sends `signal` to a rank once all are busy; kills it for good when the others have failed. */
async function disturb(victim: number, signal: NodeJS.Signals): Promise<(string | undefined)[]> {
  let busy = 0;
  let failed = 0;
  const { errors } = await runRankProcesses(WORLD_SIZE, SCENARIO, null, {
    processGroup: 'ws',
    // It is also the time in which ranks must have met.
    rankTimeoutMs: 10_000,
    timeoutMs: 150_000,
    onNote: (_, text, pids) => {
      if (text === 'busy' && ++busy === WORLD_SIZE) process.kill(pids[victim]!, signal);
      if (text === 'failed' && ++failed === WORLD_SIZE - 1 && signal === 'SIGSTOP')
        process.kill(pids[victim]!, 'SIGKILL');
    },
  });
  return errors.filter((_, rank) => rank !== victim).map((error) => `${error?.code}: ${error?.message}`);
}

describe('a rank', () => {
  it.each([
    ['that is killed', 1, 'SIGKILL'],
    ['that is killed, the main rank', 0, 'SIGKILL'],
    ['that is stopped', 2, 'SIGSTOP'],
  ] as const)('%s is named by every other, with the call', async (_, victim, signal) => {
    const told = await disturb(victim, signal);
    expect(told).toHaveLength(WORLD_SIZE - 1);
    for (const error of told)
      expect(error).toMatch(
        new RegExp(`RANK_LOST: Rank ${victim} is lost.*during all-reduce sum float32\\[3000000\\]`),
      );
  });
});
