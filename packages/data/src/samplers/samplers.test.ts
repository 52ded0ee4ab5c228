import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { range } from '../random/seeded.ts';
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

  it('puts the batches of a step in order of length, and changes neither the batches nor which step they are in', () => {
    const batchesOf = (batchesPerStep: number): number[][] => {
      const order = Array.from(new LengthBucketedSampler(given, { batchSize: 4, seed: 1, batchesPerStep }).indices(2));
      return Array.from({ length: Math.ceil(order.length / 4) }, (_, i) => order.slice(4 * i, 4 * i + 4));
    };
    const longest = (batch: number[]): number => Math.max(...batch.map((index) => given[index] as number));
    const [plain, ordered] = [batchesOf(1), batchesOf(8)];
    expect(ordered).not.toEqual(plain);
    for (let start = 0; start < plain.length - 1; start += 8) {
      const step = ordered.slice(start, start + 8);
      const names = (batches: number[][]): string[] => batches.map(String).sort();
      expect(names(step)).toEqual(names(plain.slice(start, start + 8)));
      const lengths = step.filter((batch) => batch.length === 4).map(longest);
      // The last batch of all is not full, and stays where it is.
      const sorted = start + 8 < plain.length ? lengths : lengths.slice(0, -1);
      expect(sorted).toEqual([...sorted].sort((a, b) => b - a));
    }
    expect(ordered.at(-1)).toEqual(plain.at(-1));
  });

  it('with the batches of a step in order, gives ranks that take neighbours about the same work', () => {
    /** Padded tokens of the longer of two neighbouring batches, summed, over half of all: 1 where no rank ever waits. */
    const waiting = (batchesPerStep: number): number => {
      const order = Array.from(new LengthBucketedSampler(given, { batchSize: 4, seed: 1, batchesPerStep }).indices(0));
      const lengths = Array.from({ length: 496 }, (_, i) =>
        Math.max(...order.slice(4 * i, 4 * i + 4).map((index) => given[index] as number)),
      );
      let slowest = 0;
      for (let i = 0; i < lengths.length; i += 2) slowest += Math.max(lengths[i] as number, lengths[i + 1] as number);
      return (2 * slowest) / lengths.reduce((a, b) => a + b, 0);
    };
    expect(waiting(1)).toBeGreaterThan(1.25);
    expect(waiting(16)).toBeLessThan(1.07);
  });
});

it('a bucketed order is restored with its seed, its windows and its steps', () => {
  const lengths = Array.from({ length: 100 }, (_, i) => (i * 37) % 91);
  const stored = new LengthBucketedSampler(lengths, { batchSize: 4, seed: 1, windowBatches: 2, batchesPerStep: 3 });
  const restored = new LengthBucketedSampler(lengths, { batchSize: 4 });
  expect(restored.indices(3)).not.toEqual(stored.indices(3));
  restored.loadStateDict(stored.stateDict());
  expect(restored.indices(3)).toEqual(stored.indices(3));
});

it('a bucketed order needs batches and windows of at least one', () => {
  expect(() => new LengthBucketedSampler([1], { batchSize: 0 })).toThrow(/batchSize 0; expected a whole number/);
  expect(() => new LengthBucketedSampler([1], { batchSize: 1, windowBatches: 0.5 })).toThrow(/windowBatches 0.5/);
});
