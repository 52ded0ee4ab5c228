/** Every strategy over every medium between processes: the parameters of one process, to rounding. */
import { spawnSync } from 'node:child_process';
import { it } from 'vitest';
import { resultsOf, runRankProcesses } from '../testing/rank-processes.testing.ts';
import { expectParity, parityScenario } from './parity-tests.testing.ts';
import type { ParityInput, ParityResult } from './parity.testing.ts';

const hasMpi = spawnSync('mpirun', ['--version']).status === 0;
if (!hasMpi) console.log('not tested over mpi: there is no mpirun on this machine');

const inputs = ['ddp', 'zero1', 'zero2', 'fsdp'].map((strategy): ParityInput => ({
  strategy,
  steps: 6,
  optimizer: 'adamw',
  microBatches: 6,
  clip: { clipNorm: 0.3 },
}));

it.each([['shm', 3], ['ws', 3], ...(hasMpi ? ([['mpi', 2]] as const) : [])] as const)(
  'over %s on %i ranks',
  async (processGroup, worldSize) => {
    const run = await runRankProcesses<ParityResult[]>(worldSize, parityScenario, inputs, {
      processGroup,
      timeoutMs: 110_000,
      collectiveTimeoutMs: 60_000,
      rankTimeoutMs: 30_000,
    });
    const ranks = resultsOf(run);
    for (const [i, input] of inputs.entries())
      await expectParity(
        input,
        ranks.map((results) => results[i] as ParityResult),
      );
  },
  150_000,
);
