/**
 * How an order is shared among ranks: in rounds of one batch for each rank. A round takes the next `worldSize` batches of the one global
 * order, so that how much of it is used up means the same to any number of ranks.
 */

/** Which rank of how many. */
export interface Share {
  readonly rank: number;
  readonly worldSize: number;
  /** Training: each rank gets a batch of every round. Evaluation: each item goes to exactly one rank. */
  readonly training: boolean;
}

/** How rounds are cut. */
export interface RoundPlan {
  readonly batchSize: number;
  /** Only full batches; in training among several ranks only full rounds. */
  readonly dropLast: boolean;
  readonly share: Share;
}

/** Items of a round from `from` to `to` (exclusive). Of a padded part, the items do not count: they only keep ranks in step. */
export interface RoundPart {
  readonly from: number;
  readonly to: number;
  readonly counted: number;
}

/** Items of a full round. */
export function roundSize({ batchSize, share }: RoundPlan): number {
  return batchSize * share.worldSize;
}

/**
 * This rank's part of a round of `size` items. A last round that is not full is dealt evenly, in one piece to each rank. Null where
 * this rank gets nothing.
 */
export function partOfRound(size: number, plan: RoundPlan): RoundPart | null {
  const { batchSize, dropLast, share } = plan;
  const { rank, worldSize, training } = share;
  if (size === roundSize(plan)) return part(rank * batchSize, (rank + 1) * batchSize);
  if (dropLast) {
    const isFull = (rank + 1) * batchSize <= size;
    return isFull && !(training && worldSize > 1) ? part(rank * batchSize, (rank + 1) * batchSize) : null;
  }
  const [from, to] = [Math.ceil((rank * size) / worldSize), Math.ceil(((rank + 1) * size) / worldSize)];
  if (from < to) return part(from, to);
  return training && size > 0 ? { from: size - 1, to: size, counted: 0 } : null;
}

function part(from: number, to: number): RoundPart {
  return { from, to, counted: to - from };
}

/** Batches of this rank in the last `items` items of an order. */
export function batchesIn(items: number, plan: RoundPlan): number {
  const size = roundSize(plan);
  const rest = items % size;
  return Math.floor(items / size) + (rest > 0 && partOfRound(rest, plan) !== null ? 1 : 0);
}
