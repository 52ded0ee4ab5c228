/** For tests: what every strategy for several ranks must give, over ranks that are threads. */
import { SingleProcessGroup } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { runLocalRanks } from '../testing/local-ranks.testing.ts';
import { runParity, type ParityInput, type ParityResult } from './parity.testing.ts';

export const parityScenario = new URL('./parity.testing.ts', import.meta.url);

/** Nothing is more than this from the parameters of one process. */
export const TOLERANCE = 1e-5;

/** The same on one rank by the strategy `accumulate`. */
export function oneProcess(input: ParityInput): Promise<ParityResult> {
  return runParity(new SingleProcessGroup(), { ...input, strategy: 'accumulate', options: {}, seedByRank: false });
}

/** Runs by rank, then by input. Starting ranks takes longer than their runs, so that they have several. */
export function manyRanks(worldSize: number, inputs: readonly ParityInput[]): Promise<ParityResult[][]> {
  return runLocalRanks<ParityResult[]>(worldSize, parityScenario, inputs);
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a).toHaveLength(b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] as number))), 0);
}

/** All ranks have ended with the parameters of one process, to rounding, and with the same bits. */
export async function expectParity(input: ParityInput, ranks: readonly ParityResult[]): Promise<void> {
  const expected = await oneProcess(input);
  for (const rank of ranks) {
    expect(largestDifference(rank.parameters, expected.parameters)).toBeLessThan(TOLERANCE);
    expect(rank.stepped).toEqual(expected.stepped);
    for (const [i, norm] of rank.norms.entries())
      if (Number.isFinite(expected.norms[i])) expect(norm).toBeCloseTo(expected.norms[i] as number, 5);
      else expect(norm).not.toSatisfy(Number.isFinite);
    // Tensors do not pile up.
    expect(rank.tensors.at(-1)).toBe(rank.tensors.at(-3));
  }
  expect(new Set(ranks.map(({ digest }) => digest)).size).toBe(1);
}

/** By what they show. Without `microBatches` a step has one of each rank: no accumulation. */
const cases: Readonly<Record<string, Partial<ParityInput>>> = {
  'with Adam, without accumulation': { optimizer: 'adam' },
  'with AdamW, accumulating, clipped by norm': { optimizer: 'adamw', microBatches: 12, clip: { clipNorm: 0.3 } },
  'with momentum, clipped by value': { optimizer: 'sgd', clip: { clipValue: 0.02 } },
  'with plain SGD, accumulating': { optimizer: 'sgd-plain', microBatches: 12 },
  'with parameter groups and a table that is also used as a whole': {
    optimizer: 'groups',
    microBatches: 12,
    tied: true,
    clip: { clipNorm: 0.3 },
  },
  'beginning with rank zero’s parameters': { optimizer: 'sgd', seedByRank: true },
  'skipping a window that one rank alone found not finite': { microBatches: 12, spoilStep: 1 },
  'closing a window early when it is flushed': { microBatches: 24, flushStep: 1 },
  'on the accelerator wasm': { optimizer: 'adamw', microBatches: 12, clip: { clipNorm: 0.3 }, accelerator: 'wasm' },
};

/** @param options of the strategy that are tried beside its defaults, each with its name */
export function parityTests(
  strategy: string,
  options: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {},
): void {
  const extra = Object.entries(options).map(
    ([name, each]) => [name, { optimizer: 'adamw', microBatches: 12, options: each }] as const,
  );
  const all: readonly (readonly [string, Partial<ParityInput>])[] = [...Object.entries(cases), ...extra];

  describe.each([1, 2, 3, 4])(`${strategy} on %i ranks ends as one process does`, (worldSize) => {
    const inputs = all.map(([, given]): ParityInput => {
      return { strategy, steps: 6, optimizer: 'adam', microBatches: worldSize, ...given };
    });
    let results: ParityResult[][] = [];
    let again: ParityResult[][] = [];
    beforeAll(async () => {
      results = await manyRanks(worldSize, inputs);
      // Three ranks: the fewest for which the order of a sum matters.
      if (worldSize === 3) again = await manyRanks(worldSize, inputs);
    });

    it.each(all.map(([name], i) => [name, i] as const))('%s', async (_name, i) => {
      await expectParity(
        inputs[i] as ParityInput,
        results.map((rank) => rank[i] as ParityResult),
      );
    });

    it.runIf(worldSize === 3)('and gives the same bits in two runs', () => {
      const digests = (ranks: readonly (readonly ParityResult[])[]) =>
        ranks.map((runs) => runs.map(({ digest }) => digest));
      expect(digests(again)).toEqual(digests(results));
    });
  });
}
