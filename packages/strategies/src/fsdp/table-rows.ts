/** Rows of a sharded table on their way: asked for by number, and gradients of rows to the ranks that keep them. */
import { hostValues, RowSparse, tf, type ProcessGroup } from '@tensorloom/core';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { encode } from '../gradient-exchange/wire-format.ts';
import type { RowPartition } from './row-partition.ts';
import { decodeInto, type TravelStorage } from './travel.ts';

/**
 * Rows `indices` of a table of which each rank keeps some. All ranks call it, each with its own indices; the whole table travels nowhere.
 * @param own this rank's rows, row-major
 * @returns `[indices.length, rowSize]` row-major
 */
export function gatherRows(
  group: ProcessGroup,
  partition: RowPartition,
  own: Float32Array,
  indices: Int32Array,
  { storage, pool }: { readonly storage: TravelStorage; readonly pool: BufferPool },
): Float32Array {
  const { rowSize } = partition;
  const asked = Int32Array.from(new Set(indices)).sort();
  const askCounts = countByOwner(asked, partition, group.worldSize);
  const serveCounts = [...exchangeInts(group, Int32Array.from(askCounts))];
  const toServe = new Int32Array(sum(serveCounts));
  group.allToAll(asked, toServe, askCounts, serveCounts).waitSync();

  const served = pool.take(storage, toServe.length * rowSize);
  const firstRow = partition.firstRow(group.rank);
  for (const [i, row] of toServe.entries()) {
    const from = (row - firstRow) * rowSize;
    encode(served, i * rowSize, own.subarray(from, from + rowSize));
  }
  const received = pool.take(storage, asked.length * rowSize);
  group.allToAll(served, received, times(serveCounts, rowSize), times(askCounts, rowSize)).waitSync();

  const place = new Map([...asked].map((row, i) => [row, i]));
  const rows = new Float32Array(indices.length * rowSize);
  for (const [i, row] of indices.entries())
    decodeInto(rows, i * rowSize, received, (place.get(row) as number) * rowSize, rowSize, storage);
  pool.give(served);
  pool.give(received);
  return rows;
}

/**
 * Sends the rows of a gradient to the ranks that keep them, which add them up in the order of ranks.
 * @param gradient of the whole table; null if this rank has none
 * @param divisor what halves are divided by on their way
 * @returns the sum for this rank's rows, numbered from its first, or null if no rank had a gradient or this one keeps no rows
 */
export function exchangeRowGradients(
  group: ProcessGroup,
  partition: RowPartition,
  gradient: RowSparse | null,
  { storage, divisor, pool }: { readonly storage: TravelStorage; readonly divisor: number; readonly pool: BufferPool },
): RowSparse | null {
  const { rank, worldSize } = group;
  const { rowSize } = partition;
  const indices = gradient?.indices ?? new Int32Array(0);
  const sendCounts = countByOwner(indices, partition, worldSize);
  // With each count goes whether there is a gradient at all: one without rows is a gradient too.
  const told = exchangeInts(group, Int32Array.from(sendCounts.flatMap((count) => [count, gradient === null ? 0 : 1])));
  const receiveCounts = Array.from({ length: worldSize }, (_, from) => told[2 * from] as number);
  const anyGradient = told.some((value, i) => i % 2 === 1 && value !== 0);
  if (!anyGradient) return null;

  const rows = new Int32Array(sum(receiveCounts));
  group.allToAll(indices, rows, sendCounts, receiveCounts).waitSync();
  const sent = pool.take(storage, indices.length * rowSize);
  if (gradient !== null) encode(sent, 0, hostValues(gradient.rows), 1 / divisor);
  const received = pool.take(storage, rows.length * rowSize);
  group.allToAll(sent, received, times(sendCounts, rowSize), times(receiveCounts, rowSize)).waitSync();

  const numRows = partition.rowsOf(rank);
  const values = new Float32Array(received.length);
  decodeInto(values, 0, received, 0, received.length, storage, divisor);
  pool.give(sent);
  pool.give(received);
  return numRows === 0 ? null : sumByRow(rows, values, partition, rank);
}

function sumByRow(rows: Int32Array, values: Float32Array, partition: RowPartition, rank: number): RowSparse {
  const { rowSize } = partition;
  const firstRow = partition.firstRow(rank);
  const unique = Int32Array.from(new Set(rows)).sort();
  const place = new Map([...unique].map((row, i) => [row, i]));
  const sums = new Float32Array(unique.length * rowSize);
  for (const [i, row] of rows.entries()) {
    const to = (place.get(row) as number) * rowSize;
    const from = i * rowSize;
    for (let j = 0; j < rowSize; j++) sums[to + j] = (sums[to + j] as number) + (values[from + j] as number);
  }
  return new RowSparse(
    unique.map((row) => row - firstRow),
    tf.tensor2d(sums, [unique.length, rowSize], 'float32'),
    partition.rowsOf(rank),
  );
}

/** How many of the ascending `rows` each rank keeps. */
function countByOwner(rows: Int32Array, partition: RowPartition, worldSize: number): number[] {
  const counts = new Array<number>(worldSize).fill(0);
  for (const row of rows) {
    const owner = partition.ownerOf(row);
    counts[owner] = (counts[owner] as number) + 1;
  }
  return counts;
}

function exchangeInts(group: ProcessGroup, sent: Int32Array): Int32Array {
  const received = new Int32Array(sent.length);
  group.allToAll(sent, received).waitSync();
  return received;
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function times(counts: readonly number[], factor: number): number[] {
  return counts.map((count) => count * factor);
}
