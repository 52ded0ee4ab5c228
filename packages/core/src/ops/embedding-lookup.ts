/** Rows of a table by index, with a gradient that has only the rows that occurred. */
import { RowSparse } from '../autograd/row-sparse.ts';
import { recordOp } from '../autograd/tape.ts';
import { TensorloomError } from '../errors.ts';
import type { Parameter } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';

/**
 * Rows `ids` (int32 `[...]`) of `table [rows, width]`: `[..., width]`. The gradient is `RowSparse`, summed in the order of
 * the ids. Unless the table is pinned to the device (`Parameter.pinToDevice`), it moves to host memory, and only the rows
 * asked for travel to the device; of a sharded table they come from the ranks that hold them.
 * @throws TensorloomError `BAD_DATA` if an id is out of range or `table` is not a matrix
 */
export function embeddingLookup(table: Parameter, ids: Tensor): Tensor {
  const [numRows, width] = table.shape;
  if (table.shape.length !== 2 || numRows === undefined || width === undefined)
    throw new TensorloomError(
      'BAD_DATA',
      `embeddingLookup: the table is [${table.shape.join(', ')}]; expected [rows, width].`,
    );
  const indices = hostIndices(ids, numRows);
  const byRows = table.onHost || !table.pinnedToDevice;
  const rows = byRows ? gatherRows(table, indices, width) : null;
  const whole = byRows ? null : table.value;
  return recordOp({
    inputs: { table: whole ?? table.tapeHandle },
    forward: () =>
      rows === null
        ? tf.gather(whole as Tensor, tf.cast(ids, 'int32'))
        : tf.tensor(rows, [...ids.shape, width], 'float32'),
    backward: (outputGradient) => ({ table: () => sumRows(outputGradient, indices, numRows, width) }),
  });
}

function hostIndices(ids: Tensor, numRows: number): Int32Array {
  if (ids.dtype !== 'int32')
    throw new TensorloomError('BAD_DATA', `embeddingLookup: the ids are ${ids.dtype}; expected int32.`);
  const indices = ids.dataSync<'int32'>();
  const wrong = indices.find((index) => index < 0 || index >= numRows);
  if (wrong !== undefined)
    throw new TensorloomError(
      'BAD_DATA',
      `embeddingLookup: id ${wrong} is out of range; the table has ${numRows} rows.`,
    );
  // Some backends hand out their own storage, which may be gone when the gradient is computed.
  return indices.slice();
}

function gatherRows(parameter: Parameter, indices: Int32Array, width: number): Float32Array {
  if (parameter.sharding !== null) return parameter.sharding.gatherRows(indices);
  const table = parameter.hostData();
  const rows = new Float32Array(indices.length * width);
  for (let i = 0; i < indices.length; i++) {
    const from = (indices[i] as number) * width;
    rows.set(table.subarray(from, from + width), i * width);
  }
  return rows;
}

/** Scatter-add of `gradient [..., width]` by row, in host memory: in a fixed order, on every backend alike. */
function sumRows(gradient: Tensor, indices: Int32Array, numRows: number, width: number): RowSparse {
  const unique = Int32Array.from(new Set(indices)).sort();
  const position = new Map([...unique].map((row, i) => [row, i]));
  const values = gradient.dataSync<'float32'>();
  const sums = new Float32Array(unique.length * width);
  for (let i = 0; i < indices.length; i++) {
    const to = (position.get(indices[i] as number) as number) * width;
    const from = i * width;
    for (let j = 0; j < width; j++) sums[to + j] = (sums[to + j] as number) + (values[from + j] as number);
  }
  return new RowSparse(unique, tf.tensor2d(sums, [unique.length, width], 'float32'), numRows);
}
