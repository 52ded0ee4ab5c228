/** Every strategy over every medium between processes: the parameters of one process, to rounding. */
import { accelerators } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { missingFor, type ProcessGroupName } from '../process-groups/make-process-group.ts';
import { hasMpi } from '../testing/has-mpi.testing.ts';
import { resultsOf, runRankProcesses } from '../testing/rank-processes.testing.ts';
import { expectParity, parityScenario } from './parity-tests.testing.ts';
import type { ParityInput, ParityResult } from './parity.testing.ts';

const strategies = ['ddp', 'zero1', 'zero2', 'fsdp'];

const withoutShm = await missingFor('shm');
if (withoutShm !== null) console.log(`not tested over shm: ${withoutShm}`);
const withoutTensorflow = await accelerators.get('tensorflow').create().unavailable();
if (withoutTensorflow !== null) {
  if (process.env['TENSORLOOM_REQUIRE_TENSORFLOW'] === '1') throw new Error(withoutTensorflow);
  console.log(`not tested on tensorflow: ${withoutTensorflow}`);
}

/** All in one start of ranks, one after the other: starting processes takes longer than what they do. */
async function expectAllInParity(
  processGroup: ProcessGroupName,
  worldSize: number,
  inputs: readonly ParityInput[],
): Promise<void> {
  const run = await runRankProcesses<ParityResult[]>(worldSize, parityScenario, inputs, {
    processGroup,
    timeoutMs: 150_000,
    collectiveTimeoutMs: 60_000,
    rankTimeoutMs: 60_000,
    ...(processGroup === 'shm+ws' && { ranksPerNode: 2 }),
  });
  const ranks = resultsOf(run);
  expect(ranks).toHaveLength(worldSize);
  for (const [i, input] of inputs.entries())
    await expectParity(
      input,
      ranks.map((results) => results[i] as ParityResult),
    );
}

/** With and without accumulation and clipping. */
const cases = (strategy: string, worldSize: number): ParityInput[] => [
  { strategy, steps: 6, optimizer: 'adamw', microBatches: 12, clip: { clipNorm: 0.3 } },
  { strategy, steps: 6, optimizer: 'adamw', microBatches: 12 },
  { strategy, steps: 6, optimizer: 'adam', microBatches: worldSize, clip: { clipNorm: 0.3 } },
  { strategy, steps: 6, optimizer: 'adam', microBatches: worldSize },
];

// Each start of processes takes longer than all that they do, so each medium has the sizes in which it does something of its own: a
// ring of two and of three, shared memory among four, two hosts of two ranks. Strategies on 1, 2, 3 and 4 ranks: the tests beside this
// one, over threads. Media on 1, 2, 3 and 4 ranks: their conformance test.
const worlds: readonly (readonly [ProcessGroupName, readonly number[]])[] = [
  ['ws', [2, 3]],
  ...(withoutShm === null
    ? ([
        ['shm', [4]],
        ['shm+ws', [4]],
      ] as const)
    : []),
  ...((await hasMpi()) ? ([['mpi', [2]]] as const) : []),
];

describe.each(worlds)('over %s all strategies end as one process does', (processGroup, sizes) => {
  it.each(sizes)('on %i ranks', (worldSize) => {
    const inputs = strategies.flatMap((strategy) => cases(strategy, worldSize));
    return expectAllInParity(processGroup, worldSize, inputs);
  });
});

it.runIf(withoutTensorflow === null)('on the accelerator tensorflow ddp and fsdp do, on 2 ranks', () =>
  expectAllInParity(
    'ws',
    2,
    ['ddp', 'fsdp'].map((strategy) => ({ ...(cases(strategy, 2)[0] as ParityInput), accelerator: 'tensorflow' })),
  ),
);
