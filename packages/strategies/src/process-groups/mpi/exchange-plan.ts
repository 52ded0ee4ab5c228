/** All-to-all: do the ranks' counts fit each other, and how many rounds does it take? */
import { TensorloomError } from '@tensorloom/core/distributed';
import type { RoundPlan } from './rounds.ts';

/**
 * All ranks come to the same plan, or to the same error.
 * @param parts of each rank, by rank: elements that it sends to each, then elements that it expects from each
 * @throws TensorloomError `COLLECTIVE_MISMATCH` naming the first pair that does not fit
 */
export function planExchange(parts: Float64Array, size: number, maxCount: number): RoundPlan {
  const sent = (from: number, to: number): number => parts[from * 2 * size + to]!;
  const expected = (by: number, from: number): number => parts[by * 2 * size + size + from]!;
  let largestPart = 1;
  let largestTotal = 0;
  for (let rank = 0; rank < size; rank++) {
    const totals = [0, 0];
    for (let other = 0; other < size; other++) {
      if (sent(rank, other) !== expected(other, rank))
        throw new TensorloomError(
          'COLLECTIVE_MISMATCH',
          `all-to-all: rank ${rank} sends ${sent(rank, other)} elements to rank ${other}, which expects ${expected(other, rank)}. Give the same on both.`,
        );
      totals[0]! += sent(rank, other);
      totals[1]! += expected(rank, other);
      largestPart = Math.max(largestPart, sent(rank, other));
    }
    largestTotal = Math.max(largestTotal, ...totals);
  }
  const perRound = largestTotal <= maxCount ? largestPart : Math.max(1, Math.floor(maxCount / size));
  return { perRound, rounds: Math.ceil(largestPart / perRound) };
}
