/** The gradient of an embedding table: only the rows that occurred. */
import { runKernel } from '../ops/fused-op.ts';
import { tf, type Tensor } from '../tensors.ts';
import { zeros } from '../zeros.ts';
import { isKernel } from './tape.ts';

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

  /**
   * Sum of two gradients of the same table; rows of both are merged. The result is new, the operands stay.
   *
   * A backend takes the sum over by registering a tfjs kernel `AddRows` with the inputs `into` and `rows` and the attribute
   * `positions`, the row of `into` that each of `rows` is added to: it changes the first and returns `[]`, or returns the sum.
   */
  add(other: RowSparse): RowSparse {
    const indices = mergeSorted(this.indices, other.indices);
    const width = this.shape[1];
    if (isKernel('AddRows')) return new RowSparse(indices, addRows(indices, width, [this, other]), this.numRows);
    const sum = new Float32Array(indices.length * width);
    for (const part of [this, other]) {
      const values = part.rows.dataSync<'float32'>();
      let row = 0;
      for (let i = 0; i < part.indices.length; i++) {
        while (indices[row] !== part.indices[i]) row++;
        const to = row * width;
        const from = i * width;
        for (let j = 0; j < width; j++) sum[to + j] = (sum[to + j] as number) + (values[from + j] as number);
      }
    }
    return new RowSparse(indices, tf.tensor2d(sum, [indices.length, width], 'float32'), this.numRows);
  }

  /** The same gradient with its values replaced by `fn(rows)`, as for dividing or clipping. The operand stays. */
  map(fn: (rows: Tensor) => Tensor): RowSparse {
    return new RowSparse(this.indices, fn(this.rows), this.numRows);
  }

  /** The dense tensor `[numRows, width]` (new). */
  toDense(): Tensor {
    if (this.indices.length === 0) return zeros(this.shape);
    return tf.tidy(() =>
      tf.scatterND(tf.tensor2d(this.indices, [this.indices.length, 1], 'int32'), this.rows, this.shape),
    );
  }

  dispose(): void {
    this.rows.dispose();
  }
}

/** The rows of all `parts` summed at their places in `indices` (new). */
function addRows(indices: Int32Array, width: number, parts: readonly RowSparse[]): Tensor {
  return tf.tidy(() =>
    parts.reduce<Tensor>(
      (into, part) =>
        runKernel('AddRows', { into, rows: part.rows }, { positions: positionsOf(part.indices, indices) })[0] ?? into,
      tf.fill([indices.length, width], 0, 'float32'),
    ),
  );
}

/** Where each of `rows` is in `all`. Both are strictly increasing, and `all` has all of `rows`. */
function positionsOf(rows: Int32Array, all: Int32Array): Int32Array {
  let position = 0;
  return rows.map((row) => {
    while (all[position] !== row) position++;
    return position;
  });
}

/** Union of two strictly increasing sequences, strictly increasing. */
export function mergeSorted(a: Int32Array, b: Int32Array): Int32Array {
  const merged = new Int32Array(a.length + b.length);
  let i = 0;
  let j = 0;
  let n = 0;
  while (i < a.length || j < b.length) {
    const x = i < a.length ? (a[i] as number) : Infinity;
    const y = j < b.length ? (b[j] as number) : Infinity;
    merged[n++] = Math.min(x, y);
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return merged.slice(0, n);
}
