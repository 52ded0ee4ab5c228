/** Stored tensors that are in memory, and those joined of pieces. */
import { TensorloomError } from './errors.ts';
import { HostTensor } from './host-tensor.ts';
import type { StoredTensor } from './stateful.ts';

/** An array in memory as a stored tensor. `read` gives the array itself, `readRows` copies. */
export function storedInMemory(tensor: HostTensor): StoredTensor {
  const { data, shape } = tensor;
  return {
    shape,
    read: () => tensor,
    readRows: (from, to) => {
      const width = checkRows(shape, from, to);
      return new HostTensor(data.slice(from * width, to * width), [to - from, ...shape.slice(1)]);
    },
  };
}

/**
 * Checks that rows `from` to `to` (exclusive) are there, and returns the number of elements of a row.
 * @throws TensorloomError `BAD_OPTION` for a scalar, or rows beyond the first axis
 */
export function checkRows(shape: readonly number[], from: number, to: number): number {
  const [rows, ...rest] = shape;
  const given = `readRows(${from}, ${to})`;
  if (rows === undefined) throw new TensorloomError('BAD_OPTION', `${given}: a scalar has no rows; use read().`);
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > rows)
    throw new TensorloomError(
      'BAD_OPTION',
      `${given}: rows of a tensor of shape [${shape.join(', ')}] are whole numbers with 0 <= from <= to <= ${rows}.`,
    );
  return rest.reduce((product, n) => product * n, 1);
}

/**
 * One tensor of pieces that follow each other along the first axis; pieces may have no rows. `readRows` touches only the pieces it needs.
 * @param dtype of all pieces
 */
export function joinRows(pieces: readonly [StoredTensor, ...StoredTensor[]], dtype: 'float32' | 'int32'): StoredTensor {
  const starts: number[] = [];
  let rows = 0;
  for (const { shape } of pieces) {
    starts.push(rows);
    rows += shape[0] as number;
  }
  const shape = [rows, ...pieces[0].shape.slice(1)];
  const readRows = (from: number, to: number): HostTensor => {
    const width = checkRows(shape, from, to);
    const parts = pieces.flatMap((piece, index) => {
      const start = starts[index] as number;
      const first = Math.max(from, start);
      const last = Math.min(to, start + (piece.shape[0] as number));
      return first < last ? [{ first, read: () => piece.readRows(first - start, last - start) }] : [];
    });
    if (parts.length === 1) return (parts[0] as (typeof parts)[number]).read();
    const data = new (dtype === 'int32' ? Int32Array : Float32Array)((to - from) * width);
    for (const { first, read } of parts) data.set(read().data, (first - from) * width);
    return new HostTensor(data, [to - from, ...shape.slice(1)]);
  };
  return { shape, read: () => readRows(0, rows), readRows };
}
