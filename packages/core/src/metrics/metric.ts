/** Base class of metrics: sums that can be added up over ranks, kept in double precision. */
import { TensorloomError } from '../errors.ts';
import type { StateDict, Stateful, StoredState } from '../stateful.ts';

/**
 * All of a metric is a few sums, so merging ranks is one `allReduce(metric.state(), 'sum')` followed by `compute`. A new
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

  /** The live sums: adding up those of all ranks in place merges the metric. */
  state(): Float64Array {
    return this.sums;
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
