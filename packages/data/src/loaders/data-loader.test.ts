import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject, StoredState } from '@tensorloom/core';
import { LengthBucketedSampler } from '../samplers/length-bucketed.ts';
import { RandomSampler, SequentialSampler } from '../samplers/sampler.ts';
import { DataLoader } from './data-loader.ts';
import type { DataSet, IterableDataSet, MapDataSet } from './data-set.ts';

const numbers = (length: number): MapDataSet<number> => ({ length, get: (index) => index });
const stream = (length: number): IterableDataSet<number> => ({
  async *iterate(epoch) {
    for (let i = 0; i < length; i++) yield epoch * 1000 + i;
  },
});

async function collect<T>(batches: AsyncIterable<T>, limit = Infinity): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) {
    all.push(batch);
    if (all.length >= limit) break;
  }
  return all;
}

/** A state as it comes back from a checkpoint: through JSON. */
function stored(loader: DataLoader<number>): StoredState {
  return { tensors: new Map(), values: JSON.parse(JSON.stringify(loader.stateDict().values)) as JsonObject };
}

describe('DataLoader', () => {
  it('batches in order; the last batch may be short', async () => {
    const loader = new DataLoader(numbers(5), { batchSize: 2 });
    expect(loader.length).toBe(3);
    expect(await collect(loader)).toEqual([[0, 1], [2, 3], [4]]);
  });

  it('drops a short last batch when asked', async () => {
    const loader = new DataLoader(numbers(5), { batchSize: 2, dropLast: true });
    expect(loader.length).toBe(2);
    expect(await collect(loader)).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  it.each([
    ['map', numbers(5), 0],
    ['map', numbers(5), 3],
    ['iterable', stream(5), 0],
    ['iterable', stream(4), 3],
  ] as const)(
    'says at the last batch that it is the last (%s data set)',
    async (_, dataSet: DataSet<number>, prefetch) => {
      const loader = new DataLoader(dataSet, { batchSize: 2, prefetch });
      const flags: boolean[] = [];
      for await (const _batch of loader) flags.push(loader.isLastBatch);
      expect(flags).toEqual([...flags.slice(1).map(() => false), true]);
      expect(loader.isLastBatch).toBe(true);
    },
  );

  it('moves on to the next epoch after a whole pass, and to any by setEpoch', async () => {
    const loader = new DataLoader(numbers(40), { shuffle: true, seed: 5 });
    const first = await collect(loader);
    const second = await collect(loader);
    expect(loader.epoch).toBe(2);
    expect(second).not.toEqual(first);
    loader.setEpoch(0);
    expect(await collect(loader)).toEqual(first);
  });

  it('starts an epoch anew after a pass that was broken off', async () => {
    const loader = new DataLoader(numbers(6));
    await collect(loader, 2);
    expect(await collect(loader)).toHaveLength(6);
  });

  it('resumed at any position gives exactly the undisturbed rest, with prefetch on', async () => {
    const sizes = Array.from({ length: 37 }, (_, i) => (i * 13) % 17);
    const make = (prefetch: number, batchSize: number): DataLoader<number> =>
      new DataLoader(numbers(37), {
        batchSize,
        prefetch,
        sampler: new LengthBucketedSampler(sizes, { batchSize, seed: 3 }),
      });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.nat({ max: 4 }),
        fc.nat({ max: 3 }),
        fc.nat({ max: 37 }),
        async (batchSize, prefetch, epoch, cut) => {
          const undisturbed = make(0, batchSize);
          undisturbed.setEpoch(epoch);
          const all = [...(await collect(undisturbed)), ...(await collect(undisturbed))];
          const interrupted = make(prefetch, batchSize);
          interrupted.setEpoch(epoch);
          const position = Math.min(cut, interrupted.length as number);
          let state = stored(interrupted);
          let seen = 0;
          for await (const _ of interrupted) {
            if (seen++ >= position) break;
            state = stored(interrupted);
          }
          const resumed = make(prefetch, batchSize);
          resumed.loadStateDict(state);
          resumed.setEpoch(epoch);
          expect([...(await collect(resumed)), ...(await collect(resumed))]).toEqual(all.slice(position));
        },
      ),
    );
  });

  it('resumes a stream by passing over what was delivered', async () => {
    const loader = new DataLoader(stream(10), { batchSize: 3, prefetch: 2 });
    loader.setEpoch(1);
    await collect(loader, 2);
    const resumed = new DataLoader(stream(10), { batchSize: 3 });
    resumed.loadStateDict(stored(loader));
    expect(await collect(resumed)).toEqual([[1006, 1007, 1008], [1009]]);
  });

  it('refuses a state of another order', () => {
    const shuffled = new DataLoader(numbers(20), { shuffle: true });
    const state = { tensors: new Map(), values: shuffled.stateDict().values };
    const message = /order "RandomSampler", this loader's is "SequentialSampler".*same sampler/;
    expect(() => new DataLoader(numbers(20)).loadStateDict(state)).toThrow(message);
    expect(() => new DataLoader(numbers(20)).loadStateDict(state, { strict: false })).not.toThrow();
  });

  it('restores the seed of its sampler', async () => {
    const loader = new DataLoader(numbers(20), { sampler: new RandomSampler(20, { seed: 1 }) });
    const all = await collect(loader);
    loader.setEpoch(0);
    await collect(loader, 5);
    const resumed = new DataLoader(numbers(20), { sampler: new RandomSampler(20, { seed: 2 }) });
    resumed.loadStateDict(stored(loader));
    expect(await collect(resumed)).toEqual(all.slice(5));
  });

  it('refuses the state of a loader with another batch size or other data', () => {
    const state = stored(new DataLoader(numbers(10), { batchSize: 2 }));
    expect(() => new DataLoader(numbers(10), { batchSize: 4 }).loadStateDict(state)).toThrow(
      /in batches of 2, this loader has 10 in batches of 4/,
    );
    expect(() => new DataLoader(numbers(9), { batchSize: 2 }).loadStateDict(state)).toThrow(
      expect.objectContaining({ code: 'BAD_CHECKPOINT' }),
    );
    expect(() => new DataLoader(numbers(9)).loadStateDict({ tensors: new Map(), values: {} })).toThrow(/whole numbers/);
  });

  it('makes batches ahead of the consumer, no more than asked', async () => {
    const started: number[] = [];
    const dataSet: MapDataSet<number> = { length: 10, get: async (index) => (started.push(index), index) };
    const batches = new DataLoader(dataSet, { prefetch: 3 })[Symbol.asyncIterator]();
    await batches.next();
    expect(started).toEqual([0, 1, 2, 3]);
    await batches.return(undefined);
  });

  it('hands a failing item to the consumer at its place', async () => {
    const dataSet: MapDataSet<number> = {
      length: 4,
      get: async (index) => (index === 2 ? Promise.reject(new Error('item 2 is bad')) : index),
    };
    const seen: number[][] = [];
    const pass = async (): Promise<void> => {
      for await (const batch of new DataLoader(dataSet, { prefetch: 3 })) seen.push(batch);
    };
    await expect(pass()).rejects.toThrow('item 2 is bad');
    expect(seen).toEqual([[0], [1]]);
  });

  it('takes another sampler', async () => {
    const loader = new DataLoader(numbers(3)).withSampler({ length: 2, indices: () => [2, 0] });
    expect(await collect(loader)).toEqual([[2], [0]]);
  });

  it('refuses options that cannot be', () => {
    expect(() => new DataLoader(numbers(3), { batchSize: 0 })).toThrow(/batchSize 0/);
    expect(() => new DataLoader(numbers(3), { prefetch: -1 })).toThrow(/prefetch -1/);
    expect(() => new DataLoader(numbers(3), { sampler: new SequentialSampler(3), shuffle: true })).toThrow(
      /both choose the order/,
    );
    expect(() => new DataLoader(stream(3), { shuffle: true })).toThrow(/its own order/);
    expect(() => new DataLoader(numbers(3)).setEpoch(-1)).toThrow(/epoch -1/);
  });
});
