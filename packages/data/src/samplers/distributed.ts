/** One rank's share of another sampler's order. */
import { TensorloomError, type JsonObject } from '@tensorloom/core';
import type { Sampler, ShardOptions } from './sampler.ts';

/**
 * Deals the inner order out like cards: rank r gets positions r, r + worldSize, r + 2 worldSize, … Together the ranks cover every item;
 * in evaluation each exactly once.
 */
export class DistributedSampler implements Sampler {
  readonly length: number;

  /** @throws TensorloomError `BAD_OPTION` unless 0 <= rank < worldSize */
  constructor(
    readonly inner: Sampler,
    readonly rank: number,
    readonly worldSize: number,
    readonly options: ShardOptions,
  ) {
    if (!Number.isInteger(worldSize) || worldSize < 1 || !Number.isInteger(rank) || rank < 0 || rank >= worldSize)
      throw new TensorloomError(
        'BAD_OPTION',
        `DistributedSampler: rank ${rank} of world size ${worldSize}; expected 0 <= rank < worldSize.`,
      );
    const share = inner.length / worldSize;
    if (!options.training) this.length = Math.max(0, Math.ceil((inner.length - rank) / worldSize));
    else this.length = options.uneven === 'drop' ? Math.floor(share) : Math.ceil(share);
  }

  indices(epoch: number): Int32Array {
    const all = this.inner.indices(epoch);
    return Int32Array.from(
      { length: this.length },
      (_, i) => all[(this.rank + i * this.worldSize) % all.length] as number,
    );
  }

  stateDict(): JsonObject {
    return this.inner.stateDict?.() ?? {};
  }

  loadStateDict(state: JsonObject): void {
    this.inner.loadStateDict?.(state);
  }
}

/** The share of `rank`: the sampler's own way of sharding where it has one. */
export function shardSampler(sampler: Sampler, rank: number, worldSize: number, options: ShardOptions): Sampler {
  return sampler.shard?.(rank, worldSize, options) ?? new DistributedSampler(sampler, rank, worldSize, options);
}
