/** `fsdp` on a stack of transformer blocks, over ranks that are threads. */
import { rmSync } from 'node:fs';
import { SingleProcessGroup } from '@tensorloom/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runLocalRanks } from '../testing/local-ranks.testing.ts';
import type { FsdpInput, FsdpResult } from './fsdp-run.testing.ts';
import { runAlone, temporaryFolder } from './fsdp.testing.ts';

const url = new URL('./fsdp.testing.ts', import.meta.url);
const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const train: FsdpInput = { run: 'train', microBatches: 6, shape: { tied: true } };
const partly: FsdpInput = { run: 'partly', microBatches: 12 };
const evaluate: FsdpInput = { run: 'evaluate', microBatches: 6 };
const memory: FsdpInput = { run: 'memory', microBatches: 6, shape: { vocabulary: 600, hidden: 36, layers: 4 } };
const save: FsdpInput = { run: 'save', microBatches: 6, folder };
const resume: FsdpInput = { run: 'resume', microBatches: 6, folder };
const interrupt: FsdpInput = { run: 'interrupt', microBatches: 6, folder, options: { reduceEachMicroBatch: true } };
const half = (storage: string): FsdpInput => ({
  ...train,
  options: { parameterStorage: storage, reductionStorage: storage },
});

/** Starting ranks takes longer than most runs: each world runs everything at once. Of `resume`, that of three ranks saves first. */
const everywhere = {
  train,
  whole: { ...train, options: { reduceEachMicroBatch: false } },
  plain: { ...train, options: { prefetch: false } },
  kept: { ...train, options: { reshardAfterForward: false } },
  partly,
  memory,
  outside: { run: 'outside' },
} as const satisfies Record<string, FsdpInput>;
const three = {
  ...everywhere,
  evaluate,
  save,
  resume,
  interrupt,
  interruptWhole: { ...interrupt, options: { reduceEachMicroBatch: false } },
  uninterruptedWhole: { ...train, shape: {}, steps: 4, options: { reduceEachMicroBatch: false } },
} as const;
const two = {
  ...everywhere,
  float16: half('float16'),
  again: half('float16'),
  bfloat16: half('bfloat16'),
  resume,
  ddp: { ...resume, strategy: 'ddp' },
} as const;

/** Results by input and rank. */
async function ranks<K extends string>(
  worldSize: number,
  inputs: Readonly<Record<K, FsdpInput>>,
): Promise<Record<K, FsdpResult[]>> {
  const byRank = await runLocalRanks<FsdpResult[]>(worldSize, url, Object.values(inputs));
  const entries = Object.keys(inputs).map((name, i) => [name, byRank.map((results) => results[i])]);
  return Object.fromEntries(entries) as Record<K, FsdpResult[]>;
}

function alone(input: FsdpInput): Promise<FsdpResult> {
  return runAlone(new SingleProcessGroup(), input);
}

function largestDifference(a: readonly number[] | undefined, b: readonly number[] | undefined): number {
  expect(a).toHaveLength(b?.length ?? -1);
  return Math.max(...(a ?? []).map((value, i) => Math.abs(value - (b?.[i] as number))));
}

function expectSame(results: readonly FsdpResult[], expected: FsdpResult, tolerance = 1e-5): void {
  expect(results.length).toBeGreaterThan(0);
  for (const { parameters } of results)
    expect(largestDifference(parameters, expected.parameters)).toBeLessThan(tolerance);
}

let ofThree: Record<keyof typeof three, FsdpResult[]>;
let ofTwo: Record<keyof typeof two, FsdpResult[]>;
beforeAll(async () => {
  ofThree = await ranks(3, three);
  ofTwo = await ranks(2, two);
});

describe.each([2, 3])('fsdp on %i ranks', (worldSize) => {
  const of = (name: keyof typeof everywhere): FsdpResult[] => (worldSize === 3 ? ofThree : ofTwo)[name];

  it('trains a stack with a tied head, in every mode, as one process does, without keeping tensors', async () => {
    const expected = await alone(train);
    const modes = (['train', 'whole', 'plain', 'kept'] as const).map(of);
    for (const byRank of modes) {
      expectSame(byRank, expected);
      for (const { numbers } of byRank) expect(numbers?.[1]).toBe(numbers?.[0]);
    }
    // None of it changes a bit but where gradients are added up in another order.
    const digests = modes.map((byRank) => [...new Set(byRank.map(({ digest }) => digest))]);
    expect(digests.map(({ length }) => length)).toEqual([1, 1, 1, 1]);
    expect([digests[2], digests[3]]).toEqual([digests[0], digests[0]]);
  });

  it('trains with frozen parameters, two optimizers and micro-batches without synchronization', async () => {
    expectSame(of('partly'), await alone(partly));
  });

  it('holds its part of parameters, gradients and optimizer state, and few units at a time', async () => {
    const { held: single } = await alone(memory);
    const unit = 4 * (12 * 36 ** 2 + 13 * 36);
    const root = 4 * (4 * 36 + 3 * 36);
    for (const { held, numbers } of of('memory')) {
      const [shards, mostGathered = 0, mostWholeGradients] = numbers ?? [];
      const part = (key: 'gradients' | 'optimizer' | 'parameters') => (held?.[key] ?? 0) / (single?.[key] ?? 1);
      console.log(
        `one of ${worldSize} ranks: parameters ${part('parameters').toFixed(3)}, gradients ${part('gradients').toFixed(3)}, ` +
          `optimizer ${part('optimizer').toFixed(3)} of one process; gathered at most ${(mostGathered / unit).toFixed(2)} units`,
      );
      for (const key of ['parameters', 'gradients', 'optimizer'] as const)
        expect(Math.abs(part(key) * worldSize - 1)).toBeLessThan(0.1);
      expect(shards).toBe(held?.parameters);
      expect(mostGathered).toBeGreaterThanOrEqual(unit);
      expect(mostGathered).toBeLessThanOrEqual(2 * unit + root);
      expect(mostWholeGradients).toBeLessThanOrEqual(2 * unit + root);
    }
  });

  it('refuses reads outside forward, and shows rank zero the whole module, of which a failure is told to all', () => {
    const [zero, ...others] = of('outside');
    expect(zero?.logits).toEqual([zero?.parameters?.slice(8 * 8, 12 * 8)]);
    for (const { logits } of others) expect(logits).toEqual([[]]);
    for (const { text, code } of of('outside')) {
      expect(code).toBe('MISUSE');
      expect(text).toMatch(/Parameter table was read outside forward.*withWholeModule.*\| .*disk full/);
    }
  });
});

describe('fsdp', () => {
  it('evaluates unequal numbers of batches, none on a rank too, and trains on', async () => {
    const expected = await alone(evaluate);
    expectSame(ofThree.evaluate, expected);
    const counts = [
      [0, 3, 2],
      [1, 2, 3],
      [2, 2, 2],
    ];
    const cursors = [0, 0, 0];
    const merged = counts.flatMap((byRank) =>
      byRank.flatMap((count, rank) => {
        const from = cursors[rank] as number;
        cursors[rank] = from + count;
        return ofThree.evaluate[rank]?.logits?.slice(from, from + count) ?? [];
      }),
    );
    expect(merged).toHaveLength(5 + 6 + 6);
    for (const [i, logits] of merged.entries())
      expect(largestDifference(logits, expected.logits?.[i])).toBeLessThan(1e-4);
  });

  it('resumes to the bit, within a window too, and in any number of ranks, by other strategies and in one process', async () => {
    const expected = await alone({ run: 'train', microBatches: 6, steps: 4 });
    expectSame(ofThree.save, expected);
    expect(ofThree.resume.map(({ digest }) => digest)).toEqual(ofThree.save.map(({ digest }) => digest));
    expect(ofThree.interrupt.map(({ digest }) => digest)).toEqual(ofThree.save.map(({ digest }) => digest));
    const whole = ofThree.uninterruptedWhole.map(({ digest }) => digest);
    expect(ofThree.interruptWhole.map(({ digest }) => digest)).toEqual(whole);
    expectSame(ofTwo.resume, expected);
    expectSame(ofTwo.ddp, expected);
    expectSame([await alone(resume)], expected);
  });

  it.each(['float16', 'bfloat16'] as const)('lets parameters and gradients travel as %s', async (storage) => {
    const exact = await alone(train);
    expectSame(ofTwo[storage], exact, 0.1);
    expect(largestDifference(ofTwo[storage][0]?.parameters, exact.parameters)).toBeGreaterThan(1e-6);
    expect(ofTwo.float16.map(({ digest }) => digest)).toEqual(ofTwo.again.map(({ digest }) => digest));
  });

  it('tells ranks that run their modules in different orders', async () => {
    const { disorder } = await ranks(2, { disorder: { run: 'disorder' } });
    for (const { text, code } of disorder) {
      expect(code).toBe('COLLECTIVE_MISMATCH');
      expect(text).toMatch(/same order/);
    }
  });
});
