/** What a strategy installs in a parameter of which each rank holds only some rows. */
import type { Tensor } from '../tensors.ts';
import type { Parameter } from './parameter.ts';

/** Which rows of a larger parameter a shard is: from `firstRow` on, as many as the shard has. A scalar is one row. */
export interface ShardPlacement {
  readonly firstRow: number;
  /** Shape of the whole parameter. */
  readonly wholeShape: readonly number[];
}

/** Where a sharded parameter's value comes from: it is gathered when something asks for it. */
export interface ShardedValue {
  /** This rank's rows, with their `placement`; null where it has none. */
  readonly shard: Parameter | null;
  /**
   * The whole value on the device, gathered from all ranks. Owned by the source, which frees it when it likes: operations save what
   * they need of it, or read it again. @throws TensorloomError `MISUSE` where the ranks cannot gather (outside forward and backward)
   */
  whole(): Tensor;
  /** The rows of a matrix by number, `[indices.length, width]` row-major, without gathering the whole. */
  gatherRows(indices: Int32Array): Float32Array;
  /** Frees everything, the shard too. */
  dispose(): void;
}
