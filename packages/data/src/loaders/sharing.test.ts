import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject, StoredState } from '@tensorloom/core';
import { LengthBucketedSampler } from '../samplers/length-bucketed.ts';
import { DataLoader } from './data-loader.ts';
import type { DataSet, IterableDataSet, MapDataSet } from './data-set.ts';
import { textCollator } from './text-batch.ts';

/** A batch that says how many of its items count. */
interface Counted {
  readonly items: number[];
  readonly counted: number;
}

const collate = (items: number[], counted: number): Counted => ({ items, counted });
const numbers = (length: number): MapDataSet<number> => ({ length, get: (index) => index });
const stream = (length: number): IterableDataSet<number> => ({
  *iterate(epoch) {
    for (let i = 0; i < length; i++) yield epoch * 1000 + i;
  },
});

async function collect<T>(batches: AsyncIterable<T>, limit = Infinity): Promise<T[]> {
  const all: T[] = [];
  if (limit === 0) return all;
  for await (const batch of batches) {
    all.push(batch);
    if (all.length >= limit) break;
  }
  return all;
}

/** A state as it comes back from a checkpoint: through JSON. */
const stored = (loader: DataLoader<number, Counted>): StoredState => ({
  tensors: new Map(),
  values: JSON.parse(JSON.stringify(loader.stateDict().values)) as JsonObject,
});

const countedOf = (batches: readonly Counted[]): number[] =>
  batches.flatMap(({ items, counted }) => items.slice(0, counted));
const ranksOf = (worldSize: number): number[] => Array.from({ length: worldSize }, (_, rank) => rank);

const world = fc.integer({ min: 1, max: 5 });
const batchSize = fc.integer({ min: 1, max: 4 });
const itemCount = fc.integer({ min: 1, max: 60 });

describe('a loader shared among ranks', () => {
  const shuffled = (length: number, size: number, dropLast = false): DataLoader<number, Counted> =>
    new DataLoader(numbers(length), {
      batchSize: size,
      collate,
      dropLast,
      sampler: new LengthBucketedSampler(
        Array.from({ length }, (_, i) => (i * 13) % 17),
        { batchSize: size, seed: 3, batchesPerStep: 4 },
      ),
    });
  const streamed = (length: number, size: number, dropLast = false): DataLoader<number, Counted> =>
    new DataLoader(stream(length), { batchSize: size, collate, dropLast });

  it.each([
    ['map', shuffled],
    ['iterable', streamed],
  ])('in training: as many batches on each rank, each item counted once (%s data set)', async (_, make) => {
    await fc.assert(
      fc.asyncProperty(itemCount, batchSize, world, async (length, size, worldSize) => {
        const loader = make(length, size);
        const shares = await Promise.all(
          ranksOf(worldSize).map((rank) => collect(loader.shard(rank, worldSize, { training: true }))),
        );
        expect(new Set(shares.map((batches) => batches.length)).size).toBe(1);
        const dealt = shares.flatMap(countedOf).sort((a, b) => a - b);
        expect(dealt).toEqual(Array.from({ length }, (_, i) => i));
        for (const { items, counted } of shares.flat()) {
          expect(items.length).toBeGreaterThan(0);
          expect([0, items.length]).toContain(counted);
        }
      }),
    );
  });

  it.each([
    ['map', shuffled],
    ['iterable', streamed],
  ])('in evaluation: each item on exactly one rank, none repeated (%s data set)', async (_, make) => {
    await fc.assert(
      fc.asyncProperty(itemCount, batchSize, world, async (length, size, worldSize) => {
        const shares = await Promise.all(
          ranksOf(worldSize).map((rank) => collect(make(length, size).shard(rank, worldSize, { training: false }))),
        );
        const seen = shares.flat().flatMap(({ items }) => items);
        expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
        expect(shares.flat().every(({ items, counted }) => items.length === counted)).toBe(true);
      }),
    );
  });

  it('gives the ranks together the very batches of one process, round by round', async () => {
    const alone = await collect(shuffled(48, 4));
    const [first, second, third] = (await Promise.all(
      ranksOf(3).map((rank) => collect(shuffled(48, 4).shard(rank, 3, { training: true }))),
    )) as [Counted[], Counted[], Counted[]];
    expect(first.flatMap((batch, round) => [batch, second[round], third[round]])).toEqual(alone);
  });

  it('deals a last round that is not full evenly', async () => {
    const shares = await Promise.all(
      ranksOf(2).map((rank) =>
        collect(new DataLoader(numbers(11), { batchSize: 4, collate }).shard(rank, 2, { training: true })),
      ),
    );
    expect(shares.map((batches) => batches.at(-1)?.items)).toEqual([[8, 9], [10]]);
  });

  it('with dropLast has only full batches, in training as many on each rank', async () => {
    await fc.assert(
      fc.asyncProperty(itemCount, batchSize, world, fc.boolean(), async (length, size, worldSize, training) => {
        const loader = new DataLoader(numbers(length), { batchSize: size, collate, dropLast: true });
        const shares = await Promise.all(
          ranksOf(worldSize).map(async (rank) => {
            const share = loader.shard(rank, worldSize, { training });
            const batches = await collect(share);
            expect(batches).toHaveLength(share.length as number);
            return batches;
          }),
        );
        expect(shares.flat().every(({ items }) => items.length === size)).toBe(true);
        const dealt = shares.flatMap(countedOf);
        expect(new Set(dealt).size).toBe(dealt.length);
        if (training) expect(new Set(shares.map((batches) => batches.length)).size).toBe(1);
        else expect(dealt).toHaveLength(Math.floor(length / size) * size);
      }),
    );
  });

  it.each([
    ['map', shuffled],
    ['iterable', streamed],
  ])('goes on exactly where another number of ranks left it (%s data set)', async (_, make) => {
    await fc.assert(
      fc.asyncProperty(
        itemCount,
        batchSize,
        world,
        world,
        fc.nat({ max: 12 }),
        fc.boolean(),
        async (length, size, before, after, rounds, dropLast) => {
          const earlier = ranksOf(before).map((rank) =>
            make(length, size, dropLast).shard(rank, before, { training: true }),
          );
          earlier.forEach((loader) => loader.setEpoch(2));
          const batches = await collect(earlier[0] as DataLoader<number, Counted>);
          earlier[0]?.setEpoch(2);
          // Not beyond the end, where a pass moves on to the next epoch.
          const limit = Math.min(rounds, batches.length - 1);
          const used = await Promise.all(earlier.map((loader) => collect(loader, Math.max(0, limit))));
          const states = earlier.map(stored);
          for (const state of states) expect(state).toEqual(states[0]);

          const later = ranksOf(after).map((rank) =>
            make(length, size, dropLast).shard(rank, after, { training: true }),
          );
          later.forEach((loader) => loader.loadStateDict(states[0] as StoredState));
          const rest = await Promise.all(later.map((loader) => collect(loader)));
          expect(new Set(rest.map((share) => share.length)).size).toBe(1);

          const alone = make(length, size, dropLast);
          alone.setEpoch(2);
          const whole = countedOf(await collect(alone));
          const dealt = [...used.flatMap(countedOf), ...rest.flatMap(countedOf)];
          expect(new Set(dealt).size).toBe(dealt.length);
          for (const item of dealt) expect(dropLast || whole.includes(item)).toBe(true);
          if (!dropLast) expect(dealt.sort((a, b) => a - b)).toEqual(whole.sort((a, b) => a - b));
        },
      ),
    );
  });

  it('says at the last batch that it is the last, also of a part of an epoch', async () => {
    const loader = shuffled(50, 2);
    await collect(loader, 3);
    const rest = shuffled(50, 2).shard(1, 4, { training: true });
    rest.loadStateDict(stored(loader));
    const flags: boolean[] = [];
    for await (const _batch of rest) flags.push(rest.isLastBatch);
    expect(flags).toEqual([false, false, false, false, false, true]);
  });

  it('refuses a rank outside the world', () => {
    const loader = new DataLoader<number>(numbers(3) as DataSet<number>);
    expect(() => loader.shard(2, 2, { training: true })).toThrow(/rank 2 of world size 2/);
    expect(() => loader.shard(0, 0, { training: true })).toThrow(/world size 0/);
  });
});

it('a batch of texts that do not count has no items and no tokens, but rows', () => {
  const batch = textCollator({ padId: 3 })([{ ids: [5, 6], label: 1 }], 0);
  expect(batch).toMatchObject({ items: 0, tokens: 0 });
  expect(batch.inputIds.shape).toEqual([1, 2]);
});
