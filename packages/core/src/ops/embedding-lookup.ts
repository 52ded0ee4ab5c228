/** Rows of a table by index, with a gradient that has only the rows that occurred. */
import { RowSparse } from '../autograd/row-sparse.ts';
import { recordOp } from '../autograd/tape.ts';
import { TensorloomError } from '../errors.ts';
import type { Parameter } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';
import { hasKernel, runKernel } from './fused-op.ts';

const kernelName = 'EmbeddingLookup';

/** Attributes of the kernel `EmbeddingLookup`, which has no inputs and returns `[indices.length, width]`: tables lie in host memory. */
export interface EmbeddingLookupAttributes {
  /** `[rows, width]`. */
  readonly table: Float32Array;
  readonly indices: Int32Array;
  readonly width: number;
}

/** Attributes of the kernel `EmbeddingLookupGrad`, which sums the rows of its input `outputGradient` to `[rows, width]`. */
export interface EmbeddingLookupGradAttributes {
  /** For each row of the input the row of the result that it is added to, in order. */
  readonly slots: Int32Array;
  readonly rows: number;
  readonly width: number;
}

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
  // Moving the table to host memory must not go on the tape.
  const rows = byRows ? hostRows(table, indices, width) : null;
  const whole = byRows ? null : table.value;
  return recordOp({
    inputs: { table: whole ?? table.tapeHandle },
    forward: () =>
      rows === null ? tf.gather(whole as Tensor, tf.cast(ids, 'int32')) : gatherRows(rows, [...ids.shape, width]),
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

/** Which rows of which array. */
interface HostRows {
  readonly table: Float32Array;
  /** Rows of `table`; null for all of them, in order. */
  readonly indices: Int32Array | null;
  readonly width: number;
}

function hostRows(parameter: Parameter, indices: Int32Array, width: number): HostRows {
  return parameter.sharding === null
    ? { table: parameter.hostData(), indices, width }
    : { table: parameter.sharding.gatherRows(indices), indices: null, width };
}

function gatherRows({ table, indices, width }: HostRows, shape: number[]): Tensor {
  if (indices === null) return tf.tensor(table, shape, 'float32');
  if (hasKernel(kernelName))
    return tf.reshape(runKernel(kernelName, {}, { table, indices, width })[0] as Tensor, shape);
  const rows = new Float32Array(indices.length * width);
  for (let i = 0; i < indices.length; i++) {
    const from = (indices[i] as number) * width;
    rows.set(table.subarray(from, from + width), i * width);
  }
  return tf.tensor(rows, shape, 'float32');
}

/** Scatter-add of `gradient [..., width]` by row: in a fixed order, on every backend alike. */
function sumRows(gradient: Tensor, indices: Int32Array, numRows: number, width: number): RowSparse {
  const unique = Int32Array.from(new Set(indices)).sort();
  const position = new Map([...unique].map((row, i) => [row, i]));
  const slots = indices.map((index) => position.get(index) as number);
  const sums = hasKernel(kernelName)
    ? (runKernel(`${kernelName}Grad`, { outputGradient: gradient }, { slots, rows: unique.length, width })[0] as Tensor)
    : sumOnHost(gradient, slots, unique.length, width);
  return new RowSparse(unique, sums, numRows);
}

function sumOnHost(gradient: Tensor, slots: Int32Array, rows: number, width: number): Tensor {
  const values = gradient.dataSync<'float32'>();
  const sums = new Float32Array(rows * width);
  for (let i = 0; i < slots.length; i++) {
    const to = (slots[i] as number) * width;
    const from = i * width;
    for (let j = 0; j < width; j++) sums[to + j] = (sums[to + j] as number) + (values[from + j] as number);
  }
  return tf.tensor2d(sums, [rows, width], 'float32');
}
