/** Checkpoints of strategies for several ranks: resumed to the last bit, and by other strategies and numbers of ranks. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { largestDifference, manyRanks, oneProcess, TOLERANCE } from './parity-tests.testing.ts';
import type { ParityInput, ParityResult } from './parity.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'tensorloom-resume-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const strategies = ['ddp', 'zero1', 'zero2'];
const base = { optimizer: 'adamw', microBatches: 12, steps: 4, clip: { clipNorm: 0.3 } } as const;
/** After one micro-batch of each of four ranks in the second window, and between two windows. */
const places = { 'in an open window': 12 + 4, 'between two windows': 24 };

const cases = strategies.flatMap((strategy) =>
  Object.entries(places).map(([place, after]) => {
    const input: ParityInput = { ...base, strategy };
    return { strategy, place, input, at: { after, folder: join(folder, `${strategy}-${after}`) } };
  }),
);

describe('a run of four ranks', () => {
  let whole: ParityResult[] = [];
  let expected: ParityResult;
  beforeAll(async () => {
    const runs = [
      ...strategies.map((strategy): ParityInput => ({ ...base, strategy })),
      ...cases.map(({ input, at }): ParityInput => ({ ...input, stop: at })),
    ];
    whole = (await manyRanks(4, runs))[0] as ParityResult[];
    expected = await oneProcess({ ...base, strategy: 'accumulate' });
  });

  it('goes on to the last bit', async () => {
    const [resumed] = await manyRanks(
      4,
      cases.map(({ input, at }) => ({ ...input, resume: at })),
    );
    for (const [i, { strategy, place }] of cases.entries())
      expect([strategy, place, resumed?.[i]?.digest]).toEqual([
        strategy,
        place,
        whole[strategies.indexOf(strategy)]?.digest,
      ]);
  });

  it('goes on by any of the strategies on two ranks, as one process would have', async () => {
    const others = cases.flatMap(({ at, ...each }) => strategies.map((strategy) => ({ ...each, at, next: strategy })));
    const [resumed] = await manyRanks(
      2,
      others.map(({ input, at, next }) => ({ ...input, strategy: next, resume: at })),
    );
    for (const [i, { strategy, place, next }] of others.entries()) {
      const difference = largestDifference((resumed?.[i] as ParityResult).parameters, expected.parameters);
      expect(difference, `${strategy} ${place}, then ${next}`).toBeLessThan(TOLERANCE);
    }
  });

  it('goes on in one process', async () => {
    for (const { input, at, strategy, place } of cases) {
      const { parameters } = await oneProcess({ ...input, resume: at });
      expect(largestDifference(parameters, expected.parameters), `${strategy} ${place}`).toBeLessThan(TOLERANCE);
    }
  });
});
