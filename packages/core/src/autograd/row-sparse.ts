/** The gradient of an embedding table: only the rows that occurred. */
import type { Tensor } from '../tensors.ts';

/**
 * `indices` are strictly increasing row numbers of a dense `[numRows, width]` tensor, `rows` `[indices.length, width]`
 * are their values; every other row is zero. Owns `rows`.
 */
export class RowSparse {
  constructor(
    readonly indices: Int32Array,
    readonly rows: Tensor,
    readonly numRows: number,
  ) {}

  get shape(): [number, number] {
    return [this.numRows, this.rows.shape[1] as number];
  }

  dispose(): void {
    this.rows.dispose();
  }
}
