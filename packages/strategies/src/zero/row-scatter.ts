/** Row-sparse gradients of tables: each row goes to the rank that keeps it. */
import {
  accumulateGradient,
  hostValues,
  mergeSorted,
  RowSparse,
  tf,
  type Gradient,
  type Parameter,
  type ProcessGroup,
} from '@tensorloom/core';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { denseValues } from '../gradient-exchange/gradient-values.ts';
import { rowSize, shardRows } from '../shards/shard-rows.ts';

/** What a rank has of a table's gradient. */
const NONE = 0;
const ROWS = 1;
const DENSE = 2;

/**
 * Takes the gradient of each of `tables` and adds the sum over all ranks of this rank's rows into the shard's. It is row-sparse if no
 * rank's was dense (also with no rows: a table that has a gradient anywhere has one everywhere), and stays absent if no rank had one.
 */
export async function scatterTables(
  group: ProcessGroup,
  tables: readonly Parameter[],
  pool: BufferPool,
  shardOf: (table: Parameter) => Parameter | null,
): Promise<void> {
  if (tables.length === 0) return;
  const { worldSize } = group;
  const width = 1 + worldSize;
  // Of each table: the kind, then how many rows go to each rank.
  const own = Int32Array.from(tables.flatMap((table) => [kindOf(table.grad), ...rowCounts(table, worldSize)]));
  const all = new Int32Array(own.length * worldSize);
  await group.allGather(own, all);
  for (const [i, table] of tables.entries()) {
    const byRank = Array.from({ length: worldSize }, (_, rank) => {
      const from = rank * own.length + i * width;
      return { kind: all[from] as number, counts: [...all.subarray(from + 1, from + width)] };
    });
    if (byRank.every(({ kind }) => kind === NONE)) continue;
    const gradient = byRank.some(({ kind }) => kind === DENSE)
      ? await scatterDense(group, pool, table, shardOf(table))
      : await scatterRows(
          group,
          pool,
          table,
          (byRank[group.rank] as (typeof byRank)[0]).counts,
          byRank.map(({ counts }) => counts[group.rank] as number),
          shardOf(table),
        );
    table.zeroGrad();
    const shard = shardOf(table);
    if (shard !== null && gradient !== null) accumulateGradient(shard, gradient);
  }
}

function kindOf(gradient: Gradient | null): number {
  return gradient === null ? NONE : gradient instanceof RowSparse ? ROWS : DENSE;
}

/** Rows of this rank's gradient that go to each rank; row numbers increase, so each rank's lie together. */
function rowCounts({ grad, shape }: Parameter, worldSize: number): number[] {
  const counts = new Array<number>(worldSize).fill(0);
  if (!(grad instanceof RowSparse)) return counts;
  const part = Math.ceil((shape[0] as number) / worldSize);
  for (const row of grad.indices) (counts[Math.floor(row / part)] as number)++;
  return counts;
}

async function scatterDense(
  group: ProcessGroup,
  pool: BufferPool,
  table: Parameter,
  shard: Parameter | null,
): Promise<Gradient | null> {
  const [numRows] = table.shape as [number, number];
  const counts = Array.from(
    { length: group.worldSize },
    (_, rank) => shardRows(numRows, rank, group.worldSize).rows * rowSize(table.shape),
  );
  const input = pool.take('float32', table.size);
  if (table.grad === null) input.fill(0);
  else input.set(denseValues(table.grad));
  const output = pool.take('float32', counts[group.rank] as number);
  await group.reduceScatter(input, output, 'sum', counts);
  const sum = shard === null ? null : tf.tensor(output.slice(), [...shard.shape], 'float32');
  pool.give(input);
  pool.give(output);
  return sum;
}

async function scatterRows(
  group: ProcessGroup,
  pool: BufferPool,
  table: Parameter,
  sendCounts: readonly number[],
  receiveCounts: readonly number[],
  shard: Parameter | null,
): Promise<Gradient | null> {
  const gradient = table.grad as RowSparse | null;
  const [numRows, width] = table.shape as [number, number];
  const received = receiveCounts.reduce((sum, count) => sum + count, 0);
  const indices = pool.take('int32', received);
  await group.allToAll(gradient?.indices ?? new Int32Array(0), indices, sendCounts, receiveCounts);
  const rows = pool.take('float32', received * width);
  const elements = (counts: readonly number[]) => counts.map((count) => count * width);
  const sent = gradient === null ? new Float32Array(0) : hostValues(gradient.rows);
  await group.allToAll(sent, rows, elements(sendCounts), elements(receiveCounts));
  const { firstRow } = shardRows(numRows, group.rank, group.worldSize);
  const sum = shard === null ? null : sumRows(indices, rows, receiveCounts, firstRow, shard);
  pool.give(indices);
  pool.give(rows);
  return sum;
}

/** Adds up the ranks' rows in the order of ranks; row numbers count from the shard's first then. */
function sumRows(
  indices: Int32Array,
  rows: Float32Array,
  counts: readonly number[],
  firstRow: number,
  shard: Parameter,
): RowSparse {
  const [numRows, width] = shard.shape as [number, number];
  let union: Int32Array = new Int32Array(0);
  let from = 0;
  for (const count of counts) union = mergeSorted(union, indices.slice(from, (from += count)));
  const position = new Map([...union].map((row, i) => [row, i]));
  const sums = new Float32Array(union.length * width);
  for (const [i, row] of indices.entries()) {
    const to = (position.get(row) as number) * width;
    for (let j = 0; j < width; j++) sums[to + j] = (sums[to + j] as number) + (rows[i * width + j] as number);
  }
  return new RowSparse(
    union.map((row) => row - firstRow),
    tf.tensor2d(sums, [union.length, width], 'float32'),
    numRows,
  );
}
