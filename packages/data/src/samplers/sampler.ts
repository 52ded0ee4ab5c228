/** In which order a loader visits a data set: the interface, and the two plain orders. */
import type { JsonObject } from '@tensorloom/core';
import { range, seededGenerator, shuffle } from '../random/seeded.ts';

/** An order over the items of a map-style data set, a function of its settings and the epoch alone (so that a resumed run finds the same). */
export interface Sampler {
  /** How many indices an epoch has. */
  readonly length: number;
  /** The indices of `epoch`, in order. */
  indices(epoch: number): ArrayLike<number>;
  /** Settings that the order depends on (a seed), for a checkpoint. */
  stateDict?(): JsonObject;
  loadStateDict?(state: JsonObject): void;
}

/** 0, 1, 2, …: the order of evaluation. */
export class SequentialSampler implements Sampler {
  constructor(readonly length: number) {}

  indices(): Int32Array {
    return range(this.length);
  }
}

/** A uniformly random order, another in each epoch. */
export class RandomSampler implements Sampler {
  #seed: number;

  constructor(
    readonly length: number,
    options: { readonly seed?: number } = {},
  ) {
    this.#seed = options.seed ?? 0;
  }

  get seed(): number {
    return this.#seed;
  }

  indices(epoch: number): Int32Array {
    return shuffle(range(this.length), seededGenerator(this.#seed, epoch));
  }

  stateDict(): JsonObject {
    return { seed: this.#seed };
  }

  loadStateDict(state: JsonObject): void {
    if (typeof state.seed === 'number') this.#seed = state.seed;
  }
}
