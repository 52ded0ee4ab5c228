/** Every strategy in every precision on `native`: two ranks, threads of one process, do what one does. */
import { localMemory } from '@tensorloom/strategies';
import { beforeAll, describe, expect, it } from 'vitest';
import { whyNotNative } from '../testing/native.testing.ts';
import { BLOOM_CASES } from '../verify/fixtures.testing.ts';
import type { NativeRankData, NativeRun, NativeRunResult } from './native-rank.testing.ts';
import { runRankThreads } from './rank-threads.testing.ts';

const STRATEGIES = ['ddp', 'zero1', 'zero2', 'fsdp'];
/** How far parameters may be from those of one process, whose sums have another order. */
const PRECISIONS: readonly (readonly [name: string, tolerance: number])[] = [
  ['32-true', 1e-5],
  ['16-mixed', 1e-5],
  ['bf16-mixed', 1e-5],
  ['16-true', 1e-5],
  ['bf16-true', 1e-5],
];
const TIMEOUT_MS = 240_000;

function run(worldSize: number, runs: readonly NativeRun[]): Promise<NativeRunResult[][]> {
  const memory = localMemory(worldSize);
  return runRankThreads<NativeRankData, NativeRunResult[]>(
    new URL('./native-rank.testing.ts', import.meta.url),
    worldSize,
    (rank) => ({ rank, worldSize, memory, folder: BLOOM_CASES, caseName: 'tiny', runs }),
  );
}

const reason = await whyNotNative();

describe.runIf(reason === null)('on native', () => {
  let one: NativeRunResult[] = [];
  let ranks: NativeRunResult[][] = [];
  beforeAll(async () => {
    const names = PRECISIONS.map(([precision]) => precision);
    [one = []] = await run(
      1,
      names.map((precision) => ({ precision, strategy: 'accumulate' })),
    );
    ranks = await run(
      2,
      names.flatMap((precision) => STRATEGIES.map((strategy) => ({ precision, strategy }))),
    );
  }, TIMEOUT_MS);

  describe.each(PRECISIONS)('in %s', (precision, tolerance) => {
    it.each(STRATEGIES)('two ranks of %s end with the parameters of one process', (strategy) => {
      const expected = one.find((each) => each.precision === precision) as NativeRunResult;
      const found = ranks.map(
        (runs) => runs.find((each) => each.strategy === strategy && each.precision === precision) as NativeRunResult,
      );
      for (const [rank, { losses, stepped, scales, parameters }] of found.entries()) {
        // A step that overflows on rank 1 only is skipped by both, and both scale down.
        expect({ stepped, scales }).toEqual({ stepped: expected.stepped, scales: expected.scales });
        const own = expected.losses.filter((_, i) => i % 2 === rank);
        losses.forEach((loss, i) => expect(Math.abs(loss / (own[i] as number) - 1)).toBeLessThan(tolerance));
        if (rank > 0 && parameters === null) continue;
        expect([...(parameters as ReadonlyMap<string, unknown>).keys()]).toEqual([
          ...(expected.parameters?.keys() ?? []),
        ]);
        expect(largestDifference(parameters, expected.parameters)).toBeLessThan(tolerance);
      }
      if (found[1]?.parameters != null) expect(found[1].parameters).toEqual(found[0]?.parameters);
    });
  });

  it('in 16-mixed a step was skipped, and no other', () => {
    const { stepped, scales } = one.find(({ precision }) => precision === '16-mixed') as NativeRunResult;
    expect(stepped).toEqual([true, false, true, true]);
    expect(scales).toEqual([2 ** 40, 2 ** 39, 2 ** 39, 2 ** 39]);
  });

  it('each precision has losses of its own', () => {
    expect(new Set(one.map(({ losses }) => losses.at(-1))).size).toBe(PRECISIONS.length);
  });
});

function largestDifference(
  found: ReadonlyMap<string, Float32Array> | null,
  expected: ReadonlyMap<string, Float32Array> | null,
): number {
  let largest = 0;
  for (const [name, values] of expected ?? [])
    values.forEach((value, i) => (largest = Math.max(largest, Math.abs(value - (found?.get(name)?.[i] ?? NaN)))));
  return largest;
}
