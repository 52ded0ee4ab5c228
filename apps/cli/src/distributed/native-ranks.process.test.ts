/** Every strategy in every precision on `native`: two ranks, threads of one process, do what one does. */
import { localMemory } from '@tensorloom/strategies';
import { beforeAll, describe, expect, it } from 'vitest';
import { whyNotNative } from '../testing/native.testing.ts';
import { BLOOM_CASES } from '../verify/fixtures.testing.ts';
import type { NativeRankData, NativeRun, NativeRunResult } from './native-rank.testing.ts';
import { runRankThreads } from './rank-threads.testing.ts';

const STRATEGIES = ['ddp', 'zero1', 'zero2', 'fsdp'];
/**
 * How far losses (as a share) and parameters may be from those of one process, whose sums over micro-batches have another order: in halves
 * as far as rounding to one takes them, since what differs in the last bit of a float32 may be rounded the other way.
 */
const tolerances: Readonly<Record<string, number>> = {
  '32-true': 1e-5,
  '16-mixed': 2 ** -11,
  'bf16-mixed': 2 ** -8,
  '16-true': 2 ** -11,
  'bf16-true': 2 ** -8,
};
const WORK = Object.keys(tolerances).flatMap((precision) => [false, true].map((compile) => ({ precision, compile })));
const TIMEOUT_MS = 240_000;

function run(worldSize: number, runs: readonly NativeRun[]): Promise<NativeRunResult[][]> {
  const memory = localMemory(worldSize);
  return runRankThreads<NativeRunResult[]>(
    new URL('./native-rank.testing.ts', import.meta.url),
    worldSize,
    (rank): NativeRankData => ({ rank, worldSize, memory, folder: BLOOM_CASES, caseName: 'tiny', runs }),
  );
}

const reason = await whyNotNative();

describe.runIf(reason === null)('on native', () => {
  let one: NativeRunResult[] = [];
  let ranks: NativeRunResult[][] = [];
  beforeAll(async () => {
    [one = []] = await run(
      1,
      WORK.map((work) => ({ ...work, strategy: 'accumulate' })),
    );
    ranks = await run(
      2,
      WORK.flatMap((work) => STRATEGIES.map((strategy) => ({ ...work, strategy }))),
    );
  }, TIMEOUT_MS);

  describe.each(WORK)('in $precision, compiled: $compile', ({ precision, compile }) => {
    it.each(STRATEGIES)('two ranks of %s end with the parameters of one process', (strategy) => {
      const tolerance = tolerances[precision] as number;
      const isMeant = (each: NativeRun): boolean => each.precision === precision && each.compile === compile;
      const expected = one.find(isMeant) as NativeRunResult;
      const found = ranks.map(
        (runs) => runs.find((each) => each.strategy === strategy && isMeant(each)) as NativeRunResult,
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
      const [first, second] = found.map(({ parameters }) => parameters);
      if (second !== null) expect(second).toEqual(first);
    });
  });

  it('in 16-mixed a step was skipped, and no other', () => {
    const mixed = one.filter(({ precision }) => precision === '16-mixed');
    expect(mixed).toHaveLength(2);
    for (const { stepped, scales } of mixed) {
      expect(stepped).toEqual([true, false, true, true]);
      expect(scales).toEqual([2 ** 40, 2 ** 39, 2 ** 39, 2 ** 39]);
    }
  });

  it('each precision has losses of its own', () => {
    expect(new Set(one.filter(({ compile }) => !compile).map(({ losses }) => losses.at(-1))).size).toBe(
      WORK.length / 2,
    );
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
