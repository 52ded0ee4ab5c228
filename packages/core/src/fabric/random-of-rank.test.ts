import { describe, expect, it } from 'vitest';
import { RandomGenerator } from '../random.ts';
import type { StoredState } from '../stateful.ts';
import { randomOfRank } from './random-of-rank.ts';

const draw = (generator: RandomGenerator) => Array.from({ length: 3 }, () => generator.uniform());

/** What `worldSize` ranks of one seed have stored. */
function stored(worldSize: number): StoredState[] {
  return Array.from({ length: worldSize }, (_, rank) => ({
    tensors: new Map(),
    values: randomOfRank(new RandomGenerator(7, rank), { rank, worldSize }).stateDict().values,
  }));
}

/** The next numbers of each rank after loading what a world of `from` ranks has stored. */
function numbersAfterLoading(from: number, to: number): number[][] {
  const byRank = stored(from);
  return Array.from({ length: to }, (_, rank) => {
    const generator = new RandomGenerator(99);
    const own = (from === to ? byRank[rank] : byRank[0]) as StoredState;
    randomOfRank(generator, { rank, worldSize: to }).loadStateDict({ ...own, ...(from > 1 && { byRank }) });
    return draw(generator);
  });
}

describe('random numbers of ranks in a checkpoint', () => {
  it("are each rank's own, and go on exactly in a world of the same size", () => {
    expect(randomOfRank(new RandomGenerator(1), { rank: 0, worldSize: 2 }).stateDict().scope).toBe('rank');
    for (const size of [1, 3])
      expect(numbersAfterLoading(size, size)).toEqual(
        Array.from({ length: size }, (_, rank) => draw(new RandomGenerator(7, rank))),
      );
  });

  it('differ among the ranks of a world of another size, the same in each load, and are rank zero’s on rank zero', () => {
    for (const [from, to] of [
      [1, 3],
      [2, 4],
      [4, 2],
    ] as const) {
      const numbers = numbersAfterLoading(from, to);
      expect(numbers[0]).toEqual(draw(new RandomGenerator(7, 0)));
      expect(new Set(numbers.map(([first]) => first)).size).toBe(to);
      expect(numbersAfterLoading(from, to)).toEqual(numbers);
    }
  });
});
