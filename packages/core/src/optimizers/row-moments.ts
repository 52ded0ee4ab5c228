/** Moments of an embedding table in host memory: only of the rows that have ever had a gradient. */
import { TensorloomError } from '../errors.ts';
import { hostArray, type HostArray } from '../host-array.ts';
import { tf, type Tensor } from '../tensors.ts';

/**
 * A row whose gradient and moments are all zero does not move (without weight decay), so only rows that have had a
 * gradient need moments and a visit per step. Rows are held in the order of their first gradient.
 */
export class RowMoments {
  /** Row numbers by position; the first `count` are valid. */
  rows = new Int32Array(0);
  count = 0;
  #arrays: readonly HostArray[];
  readonly #position: Int32Array;
  #snapshot: Tensor[] = [];

  constructor(
    readonly numRows: number,
    readonly width: number,
    moments: number,
  ) {
    this.#arrays = Array.from({ length: moments }, () => hostArray(0, 'optimizerState'));
    this.#position = new Int32Array(numRows).fill(-1);
  }

  /** One array `[capacity, width]` per moment, valid until the next visit. */
  get moments(): readonly Float32Array[] {
    return this.#arrays.map(({ values }) => values);
  }

  /** Takes rows with their moments, as `tensors` gave them. */
  restore(rows: Int32Array, moments: readonly Float32Array[]): void {
    this.visit(rows);
    for (const [i, values] of moments.entries()) this.moments[i]?.set(values);
  }

  /** Makes room for `rows` (with zero moments where new). Call before every change: it drops the snapshot. */
  visit(rows: Int32Array): void {
    this.#dropSnapshot();
    const fresh = rows.filter((row) => this.#position[row] === -1);
    this.#reserve(this.count + fresh.length);
    for (const row of fresh) {
      this.#position[row] = this.count;
      this.rows[this.count++] = row;
    }
  }

  /** Rows that have moments; valid until the next visit. */
  get visited(): Int32Array {
    return this.rows.subarray(0, this.count);
  }

  visitAll(): void {
    if (this.count < this.numRows) this.visit(Int32Array.from({ length: this.numRows }, (_, row) => row));
    else this.#dropSnapshot();
  }

  /**
   * For each visited row, where in a row-sparse gradient's values its row begins, or -1.
   * @throws TensorloomError `UNSUPPORTED` for a gradient of more elements than an `Int32Array` can number
   */
  gradientOffsets(indices: Int32Array): Int32Array {
    if (indices.length * this.width > 2 ** 31)
      throw new TensorloomError(
        'UNSUPPORTED',
        `The gradient of an embedding table has ${indices.length} rows of ${this.width}; a step takes at most 2^31 elements. Use smaller micro-batches or fewer of them per step.`,
      );
    const offsets = new Int32Array(this.count).fill(-1);
    // Called each step for tens of thousands of rows: no iterators.
    for (let i = 0; i < indices.length; i++) offsets[this.#position[indices[i] as number] as number] = i * this.width;
    return offsets;
  }

  /**
   * `[rows int32 [count], ...moments float32 [count, width]]`, in ascending order of rows; valid until the next change. Owned by this object.
   * @param firstRow what is added to the row numbers: of a shard, where it begins in the whole table
   */
  tensors(firstRow = 0): readonly Tensor[] {
    if (this.#snapshot.length === 0) {
      const rows = this.rows.slice(0, this.count).sort();
      const sorted = (values: Float32Array): Float32Array => {
        const result = new Float32Array(rows.length * this.width);
        for (const [i, row] of rows.entries()) {
          const from = (this.#position[row] as number) * this.width;
          result.set(values.subarray(from, from + this.width), i * this.width);
        }
        return result;
      };
      this.#snapshot = [
        tf.tensor1d(
          rows.map((row) => row + firstRow),
          'int32',
        ),
        ...this.moments.map((values) => tf.tensor2d(sorted(values), [this.count, this.width], 'float32')),
      ].map((tensor) => tf.keep(tensor));
    }
    return this.#snapshot;
  }

  /** Each moment as the dense tensor `[numRows, width]` (new). */
  toDense(): Tensor[] {
    return this.moments.map((values) => {
      const dense = new Float32Array(this.numRows * this.width);
      for (let i = 0; i < this.count; i++)
        dense.set(values.subarray(i * this.width, (i + 1) * this.width), (this.rows[i] as number) * this.width);
      return tf.tensor2d(dense, [this.numRows, this.width], 'float32');
    });
  }

  /** Bytes held, with room for rows to come. */
  get bytes(): number {
    const moments = this.moments.reduce((sum, { byteLength }) => sum + byteLength, 0);
    return moments + this.rows.byteLength + this.#position.byteLength;
  }

  dispose(): void {
    this.#dropSnapshot();
    for (const array of this.#arrays) array.dispose();
    this.#arrays = [];
  }

  #dropSnapshot(): void {
    for (const tensor of this.#snapshot) tensor.dispose();
    this.#snapshot = [];
  }

  #reserve(count: number): void {
    if (count <= this.rows.length) return;
    const capacity = Math.min(this.numRows, Math.max(count, this.rows.length * 2));
    const rows = new Int32Array(capacity);
    rows.set(this.rows);
    this.rows = rows;
    this.#arrays = this.#arrays.map((array) => {
      const grown = hostArray(capacity * this.width, 'optimizerState');
      grown.values.set(array.values);
      array.dispose();
      return grown;
    });
  }
}
