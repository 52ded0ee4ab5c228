/** Base class of metrics: sums that can be added up over ranks, kept in double precision. */
import { TensorloomError } from '../errors.ts';
import type { StateDict, Stateful, StoredState } from '../stateful.ts';

/** What merging needs of Fabric. */
export interface SumsReduced {
  allReduce(sums: number[], op: 'sum'): Promise<readonly number[]>;
}

/**
 * All of a metric is a few sums, so merging ranks is adding those up: `await metric.merge(fabric)`, then `compute`. A new
 * metric extends this with an `update` of its own.
 */
export abstract class Metric implements Stateful {
  protected readonly sums: Float64Array;

  /** @param size number of sums */
  constructor(size: number) {
    this.sums = new Float64Array(size);
  }

  /** The value over everything since the last `reset`; NaN if there was nothing. */
  abstract compute(): number;

  reset(): void {
    this.sums.fill(0);
  }

  /** Adds up all ranks, so that `compute` is over everything that any of them has seen. Once per `reset`: a second call would count twice. */
  async merge(ranks: SumsReduced): Promise<void> {
    this.sums.set(await ranks.allReduce([...this.sums], 'sum'));
  }

  stateDict(): StateDict {
    return { tensors: {}, values: { sums: [...this.sums] } };
  }

  /** @throws TensorloomError `BAD_CHECKPOINT` if the state is not one of this metric */
  loadStateDict({ values: { sums } }: StoredState): void {
    if (!Array.isArray(sums) || sums.length !== this.sums.length || !sums.every((sum) => typeof sum === 'number'))
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `The stored metric does not fit: expected ${this.sums.length} sums, got ${JSON.stringify(sums)}.`,
      );
    this.sums.set(sums);
  }
}
