/** The order of evaluation in batches: longest first. */
import { range } from '../random/seeded.ts';
import type { Sampler } from './sampler.ts';

/**
 * Longest first, the same in every epoch: least padding, and a batch that does not fit into memory shows at once. Equal lengths keep the
 * data set's order. Ranks take neighbouring batches, which are of similar length too.
 */
export class LengthSortedSampler implements Sampler {
  readonly length: number;
  readonly #order: Int32Array;

  /** @param lengths the length of each item, e.g. in tokens */
  constructor(lengths: ArrayLike<number>) {
    this.length = lengths.length;
    this.#order = range(lengths.length).sort((a, b) => (lengths[b] as number) - (lengths[a] as number) || a - b);
  }

  indices(): Int32Array {
    return this.#order;
  }
}
