/** What a backend's kernel for a step on rows of a table is told. */
import type { RowMoments } from './row-moments.ts';

/**
 * Attributes of the kernels `AdamRows` and `SGDRows`, besides those of the step on a whole parameter. The arrays lie in host memory
 * and are this call's only: `table` and `moments` are changed in place. The kernels' input `gradients` is the row-sparse gradient's values.
 */
export interface RowStepAttributes {
  /** `[numRows, width]`. */
  readonly table: Float32Array;
  /** Rows to visit, each once; moments lie in their order. */
  readonly rows: Int32Array;
  /** For each row the element of `gradients` at which its own begin, or -1 for a gradient of zeros. */
  readonly offsets: Int32Array;
  /** `[at least rows.length, width]` each. */
  readonly moments: readonly Float32Array[];
  readonly width: number;
}

/** The attributes for `table` that come from its moments and the rows of a gradient. */
export function rowStepAttributes(rows: RowMoments, table: Float32Array, indices: Int32Array): RowStepAttributes {
  const { visited, moments, width } = rows;
  return { table, rows: visited, offsets: rows.gradientOffsets(indices), moments, width };
}
