/** What `ddp`, `zero1` and `zero2` do beyond plain steps: memory, several optimizers, withheld gradients, halves, failures. */
import { SingleProcessGroup } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { runLocalRanks } from '../testing/local-ranks.testing.ts';
import { twoOptimizers, withoutSync, type Behaviours } from './behaviours.testing.ts';
import { largestDifference, oneProcess, TOLERANCE } from './parity-tests.testing.ts';
import type { ParityInput, ParityResult } from './parity.testing.ts';

const strategies = ['ddp', 'zero1', 'zero2'];
const compressed = ['float16', 'bfloat16'].map((compression): ParityInput => ({
  strategy: 'ddp',
  options: { compression },
  optimizer: 'sgd-plain',
  microBatches: 4,
  steps: 3,
}));

describe.each([2, 4])('on %i ranks', (worldSize) => {
  let ranks: Behaviours[] = [];
  beforeAll(async () => {
    const url = new URL('./behaviours.testing.ts', import.meta.url);
    ranks = await runLocalRanks<Behaviours>(worldSize, url, { runs: compressed, strategies });
  });

  it.each(strategies)('%s holds its share of gradients and optimizer state', (strategy) => {
    const bytes = 4 * 2 * 64 * 128;
    const share = strategy === 'ddp' ? 1 : 1 / worldSize;
    for (const { memory } of ranks) {
      const { before, after } = memory[strategy] as Behaviours['memory'][string];
      expect(after.parameters).toBe(bytes);
      expect(after.gradients).toBe(0);
      expect(within10Percent(after.optimizer, 2 * bytes * share)).toBe(true);
      // After the last backward of a window, zero1's gradients are in shards as well.
      expect(within10Percent(before.gradients, bytes * share)).toBe(true);
    }
  });

  it.each(strategies)('%s serves two optimizers, also one that leaves out a window', async (strategy) => {
    const expected = await twoOptimizers(new SingleProcessGroup(), strategy);
    for (const { twoOptimizers: found } of ranks)
      expect(largestDifference(found[strategy] as Float32Array, expected)).toBeLessThan(TOLERANCE);
  });

  it.each(strategies)('%s gives the same step if some backwards send nothing', async (strategy) => {
    const expected = await withoutSync(new SingleProcessGroup(), strategy);
    for (const { withoutSync: found } of ranks)
      expect(largestDifference(found[strategy] as Float32Array, expected)).toBeLessThan(TOLERANCE);
  });

  it.each(compressed.map(({ options }, i) => [JSON.stringify(options), i] as const))(
    'ddp with %s stays near, with the same bits on all ranks',
    async (_options, i) => {
      const expected = await oneProcess(compressed[i] as ParityInput);
      const found = ranks.map(({ runs }) => runs[i] as ParityResult);
      const difference = largestDifference((found[0] as ParityResult).parameters, expected.parameters);
      expect(difference).toBeLessThan(3e-3);
      expect(difference).toBeGreaterThan(0);
      expect(new Set(found.map(({ digest }) => digest)).size).toBe(1);
    },
  );

  it('refuses modules that differ, naming the ranks and the parameter', () => {
    for (const { otherModule } of ranks) {
      expect(otherModule.code).toBe('COLLECTIVE_MISMATCH');
      expect(otherModule.message).toMatch(/parameter 1 is first \[128, 64\] on rank 0 and first \[129, 64\] on rank 1/);
    }
  });

  it('goes on after a forward that failed on one rank and was tried again', () => {
    for (const { failedForward } of ranks) expect(failedForward).toEqual(ranks[0]?.failedForward);
  });

  it('tells all ranks of a backward that failed on one', () => {
    for (const [rank, { failedBackward }] of ranks.entries())
      expect(failedBackward.message).toMatch(
        rank === 1 ? /no gradient today/ : /backward failed on rank 1: .*no gradient/,
      );
  });
});

function within10Percent(found: number, expected: number): boolean {
  return Math.abs(found / expected - 1) < 0.1;
}
