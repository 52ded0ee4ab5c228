/** Row-sparse gradients of tables, summed over all ranks: as rows where some ranks have only rows. */
import {
  hostValues,
  RowSparse,
  tf,
  type CollectiveArray,
  type Gradient,
  type Parameter,
  type ProcessGroup,
} from '@tensorloom/core';
import type { BufferPool } from './buffer-pool.ts';
import { denseValues, setDenseGradient, setGradient } from './gradient-values.ts';
import { decode, elementTypeFor, encode, type Compression } from './wire-format.ts';

/** What a rank has of a table's gradient. */
const NONE = 0;
const ROWS = 1;
const DENSE = 2;

/** Of one rank and one table. */
interface Header {
  readonly kind: number;
  readonly count: number;
}

/**
 * Replaces the gradient of each of `tables` by the sum over all ranks, the same bits on each. It is row-sparse if no rank's was dense,
 * and stays absent if no rank had one. All ranks call it with the same tables.
 * @param pool where buffers come from
 * @param factor gradients travel multiplied with it
 */
export async function sumTables(
  group: ProcessGroup,
  tables: readonly Parameter[],
  pool: BufferPool,
  compression: Compression,
  factor = 1,
): Promise<void> {
  if (tables.length === 0) return;
  const headers = await gatherHeaders(group, tables);
  for (const [index, table] of tables.entries()) {
    const byRank = headers.map((rank) => rank[index] as Header);
    if (byRank.every(({ kind }) => kind === NONE)) continue;
    const wire = { pool, compression, factor };
    if (byRank.some(({ kind }) => kind === DENSE)) await sumDense(group, table, wire);
    else
      await sumRows(
        group,
        table,
        byRank.map(({ count }) => count),
        wire,
      );
  }
}

async function gatherHeaders(group: ProcessGroup, tables: readonly Parameter[]): Promise<Header[][]> {
  const own = Int32Array.from(tables.flatMap(({ grad }) => headerOf(grad)));
  const all = new Int32Array(own.length * group.worldSize);
  await group.allGather(own, all);
  return Array.from({ length: group.worldSize }, (_, rank) =>
    tables.map((_table, i) => {
      const at = rank * own.length + 2 * i;
      return { kind: all[at] as number, count: all[at + 1] as number };
    }),
  );
}

function headerOf(gradient: Gradient | null): [kind: number, count: number] {
  if (gradient === null) return [NONE, 0];
  return gradient instanceof RowSparse ? [ROWS, gradient.indices.length] : [DENSE, 0];
}

interface Wire {
  readonly pool: BufferPool;
  readonly compression: Compression;
  readonly factor: number;
}

async function sumDense(group: ProcessGroup, table: Parameter, { pool, compression, factor }: Wire): Promise<void> {
  const buffer = pool.take(elementTypeFor(compression), table.size);
  if (table.grad === null) buffer.fill(0);
  else encode(buffer, 0, denseValues(table.grad), factor);
  await group.allReduce(buffer, 'sum');
  setDenseGradient(table, decode(buffer, 0, table.size, 1 / factor));
  pool.give(buffer);
}

/** All ranks' row numbers first; then the rows themselves, or, where ranks mostly have the same ones, their sums. */
async function sumRows(
  group: ProcessGroup,
  table: Parameter,
  counts: readonly number[],
  { pool, compression, factor }: Wire,
): Promise<void> {
  const [numRows, width] = table.shape as [number, number];
  const gradient = table.grad as RowSparse | null;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const indices = pool.take('int32', total);
  await group.allGather(gradient?.indices ?? new Int32Array(0), indices, counts);
  const union = Int32Array.from(new Set(indices)).sort();
  const position = new Map([...union].map((row, i) => [row, i]));
  const values = gradient === null ? new Float32Array(0) : hostValues(gradient.rows);
  const type = elementTypeFor(compression);
  let sums: Float32Array<ArrayBuffer>;
  // A rank receives (total - own) rows by a gather, about 2 * union by a reduction.
  if (total <= 2 * union.length) {
    const own = pool.take(type, values.length);
    encode(own, 0, values, factor);
    const all = pool.take(type, total * width);
    await group.allGather(
      own,
      all,
      counts.map((count) => count * width),
    );
    sums = addInOrder(indices, all, position, width);
    pool.give(own);
    pool.give(all);
    if (factor !== 1) for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] as number) / factor;
  } else {
    const buffer = pool.take(type, union.length * width);
    buffer.fill(0);
    for (const [i, row] of (gradient?.indices ?? []).entries())
      encode(buffer, (position.get(row) as number) * width, values.subarray(i * width, (i + 1) * width), factor);
    await group.allReduce(buffer, 'sum');
    sums = decode(buffer, 0, buffer.length, 1 / factor);
    pool.give(buffer);
  }
  pool.give(indices);
  setGradient(table, new RowSparse(union, tf.tensor2d(sums, [union.length, width], 'float32'), numRows));
}

/** In the order of ranks, so that all of them get the same bits. */
function addInOrder(
  indices: Int32Array,
  rows: CollectiveArray,
  position: ReadonlyMap<number, number>,
  width: number,
): Float32Array<ArrayBuffer> {
  const sums = new Float32Array(position.size * width);
  const numbers = rows instanceof Float32Array ? rows : decode(rows, 0, rows.length);
  for (let i = 0; i < indices.length; i++) {
    const to = (position.get(indices[i] as number) as number) * width;
    const from = i * width;
    for (let j = 0; j < width; j++) sums[to + j] = (sums[to + j] as number) + (numbers[from + j] as number);
  }
  return sums;
}
