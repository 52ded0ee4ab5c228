import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { range } from '../random/seeded.ts';
import { DistributedSampler, shardSampler } from './distributed.ts';
import { LengthBucketedSampler } from './length-bucketed.ts';
import { LengthSortedSampler } from './length-sorted.ts';
import { RandomSampler, SequentialSampler, type Sampler } from './sampler.ts';

const sorted = (indices: ArrayLike<number>): number[] => Array.from(indices).sort((a, b) => a - b);
const lengths = fc.array(fc.integer({ min: 0, max: 1024 }), { maxLength: 400 });
const seed = fc.integer();
const epoch = fc.nat({ max: 1000 });

describe('every sampler', () => {
  it('visits each index exactly once', () => {
    fc.assert(
      fc.property(
        lengths,
        seed,
        epoch,
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 60 }),
        (given, s, e, batchSize, windowBatches) => {
          const all = [...range(given.length)];
          expect(sorted(new SequentialSampler(given.length).indices())).toEqual(all);
          expect(sorted(new LengthSortedSampler(given).indices())).toEqual(all);
          expect(sorted(new RandomSampler(given.length, { seed: s }).indices(e))).toEqual(all);
          expect(sorted(new LengthBucketedSampler(given, { batchSize, seed: s, windowBatches }).indices(e))).toEqual(
            all,
          );
        },
      ),
    );
  });

  it('gives the same order for the same seed and epoch, another for another', () => {
    const given = Array.from({ length: 300 }, (_, i) => (i * 37) % 101);
    const make = (s: number): Sampler[] => [
      new RandomSampler(300, { seed: s }),
      new LengthBucketedSampler(given, { batchSize: 4, seed: s }),
    ];
    make(1).forEach((sampler, i) => {
      const again = make(1)[i] as Sampler;
      const other = make(2)[i] as Sampler;
      expect(Array.from(sampler.indices(3))).toEqual(Array.from(again.indices(3)));
      expect(Array.from(sampler.indices(3))).not.toEqual(Array.from(sampler.indices(4)));
      expect(Array.from(sampler.indices(3))).not.toEqual(Array.from(other.indices(3)));
    });
  });

  it('restores its seed', () => {
    const restored = new RandomSampler(50, { seed: 7 });
    restored.loadStateDict(new RandomSampler(50, { seed: 99 }).stateDict());
    expect(restored.indices(1)).toEqual(new RandomSampler(50, { seed: 99 }).indices(1));
  });
});

describe('RandomSampler', () => {
  it('puts each index in each place about equally often', () => {
    const counts = Array.from({ length: 5 }, () => [0, 0, 0, 0, 0]);
    const sampler = new RandomSampler(5, { seed: 11 });
    for (let e = 0; e < 5000; e++) sampler.indices(e).forEach((index, place) => (counts[place] as number[])[index]!++);
    // 1,000 expected; the standard deviation is 28.
    for (const count of counts.flat()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe('LengthBucketedSampler', () => {
  const given = Array.from({ length: 2003 }, (_, i) => ((i * 7919) % 1000) + 1);
  const padded = (order: ArrayLike<number>, batchSize: number): number => {
    let total = 0;
    for (let i = 0; i < order.length; i += batchSize) {
      const batch = Array.from(order)
        .slice(i, i + batchSize)
        .map((index) => given[index] as number);
      total += Math.max(...batch) * batch.length;
    }
    return total;
  };

  it('leaves far less padding than a plain shuffle', () => {
    const tokens = given.reduce((a, b) => a + b, 0);
    expect(padded(new LengthBucketedSampler(given, { batchSize: 8, seed: 1 }).indices(0), 8)).toBeLessThan(
      tokens * 1.05,
    );
    expect(padded(new RandomSampler(given.length, { seed: 1 }).indices(0), 8)).toBeGreaterThan(tokens * 1.5);
  });

  it('does not visit batches in order of length', () => {
    const order = new LengthBucketedSampler(given, { batchSize: 8, seed: 1 }).indices(0);
    const firsts = Array.from({ length: 250 }, (_, i) => given[order[i * 8] as number] as number);
    const rising = firsts.slice(1).filter((length, i) => length >= (firsts[i] as number)).length;
    expect(rising).toBeGreaterThan(80);
    expect(rising).toBeLessThan(170);
  });

  it('gives the ranks batches of similar length in the same step', () => {
    const [first, second] = [0, 1].map((rank) =>
      new LengthBucketedSampler(given, { batchSize: 4, seed: 1 }).shard(rank, 2, { training: true }).indices(0),
    ) as [Int32Array, Int32Array];
    let difference = 0;
    for (let i = 0; i < 1000; i++)
      difference += Math.abs((given[first[i] as number] as number) - (given[second[i] as number] as number));
    expect(difference / 1000).toBeLessThan(10);
  });
});

describe('DistributedSampler', () => {
  const world = fc.integer({ min: 1, max: 7 });

  it('in evaluation gives each item to exactly one rank', () => {
    fc.assert(
      fc.property(lengths, seed, epoch, world, (given, s, e, worldSize) => {
        for (const sampler of [
          new RandomSampler(given.length, { seed: s }),
          new LengthBucketedSampler(given, { batchSize: 3, seed: s }),
        ]) {
          const shares = Array.from({ length: worldSize }, (_, rank) =>
            shardSampler(sampler, rank, worldSize, { training: false }),
          );
          const dealt = shares.flatMap((share) => Array.from(share.indices(e)));
          expect(sorted(dealt)).toEqual([...range(given.length)]);
          shares.forEach((share) => expect(share.indices(e)).toHaveLength(share.length));
        }
      }),
    );
  });

  it('in training gives ranks equally many: padded, all items occur; dropped, none occurs twice', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), seed, epoch, world, (length, s, e, worldSize) => {
        const deal = (uneven: 'pad' | 'drop'): number[] => {
          const shares = Array.from(
            { length: worldSize },
            (_, rank) =>
              new DistributedSampler(new RandomSampler(length, { seed: s }), rank, worldSize, {
                training: true,
                uneven,
              }),
          );
          expect(new Set(shares.map((share) => share.indices(e).length)).size).toBe(1);
          return shares.flatMap((share) => Array.from(share.indices(e)));
        };
        expect(new Set(deal('pad')).size).toBe(length);
        const dropped = deal('drop');
        expect(new Set(dropped).size).toBe(dropped.length);
        expect(dropped.length).toBeGreaterThan(length - worldSize);
      }),
    );
  });

  it('refuses a rank outside the world', () => {
    expect(() => new DistributedSampler(new SequentialSampler(3), 2, 2, { training: true })).toThrow(
      /rank 2 of world size 2/,
    );
  });
});

it('a bucketed order is restored with its seed and its windows', () => {
  const lengths = Array.from({ length: 100 }, (_, i) => (i * 37) % 91);
  const stored = new LengthBucketedSampler(lengths, { batchSize: 4, seed: 1, windowBatches: 2 });
  const restored = new LengthBucketedSampler(lengths, { batchSize: 4 });
  expect(restored.indices(3)).not.toEqual(stored.indices(3));
  restored.loadStateDict(stored.stateDict());
  expect(restored.indices(3)).toEqual(stored.indices(3));
});

it('a bucketed order needs batches and windows of at least one', () => {
  expect(() => new LengthBucketedSampler([1], { batchSize: 0 })).toThrow(/batchSize 0; expected a whole number/);
  expect(() => new LengthBucketedSampler([1], { batchSize: 1, windowBatches: 0.5 })).toThrow(/windowBatches 0.5/);
});
