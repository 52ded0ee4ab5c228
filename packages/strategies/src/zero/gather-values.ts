/** After a step: the rows that each rank has updated go to all ranks' wholes. */
import {
  withActivationStorage,
  type Parameter,
  type ProcessGroup,
  type StrategyContext,
  type Work,
} from '@tensorloom/core';
import { BucketLayout } from '../gradient-exchange/bucket-layout.ts';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { planBuckets } from '../gradient-exchange/plan-buckets.ts';
import { setValues } from '../gradient-exchange/same-module.ts';
import type { ReplicaShard } from '../shards/replica-shard.ts';
import { rowSize, rowsOf, shardRows } from '../shards/shard-rows.ts';

type ShardOf = (whole: Parameter) => ReplicaShard | null;

/** Gathers `wholes` from all ranks' shards, in buckets, one being carried while another is unpacked. */
export async function gatherValues(
  { processGroup: group, accelerator, precision }: StrategyContext,
  wholes: readonly Parameter[],
  bucketBytes: number,
  pool: BufferPool,
  shardOf: ShardOf,
): Promise<void> {
  const sections = { worldSize: group.worldSize };
  const layouts = planBuckets(wholes, bucketBytes, 4).map((parameters) => new BucketLayout(parameters, sections));
  const start = (layout: BucketLayout): { buffer: Float32Array; work: Work } => {
    const buffer = pool.take('float32', layout.length);
    const from = layout.counts.slice(0, group.rank).reduce((sum, count) => sum + count, 0);
    const own = buffer.subarray(from, from + (layout.counts[group.rank] as number));
    for (const [index, whole] of layout.parameters.entries())
      layout.putSection(own, group.rank, index, shardOf(whole)?.values() ?? new Float32Array(0));
    return { buffer, work: group.allGather(own, buffer, layout.counts) };
  };
  let ahead = layouts[0] === undefined ? null : start(layouts[0]);
  for (const [i, layout] of layouts.entries()) {
    const { buffer, work } = ahead as { buffer: Float32Array; work: Work };
    const next = layouts[i + 1];
    ahead = next === undefined ? null : start(next);
    await work;
    for (const [index, whole] of layout.parameters.entries()) {
      const values = layout.whole(buffer, index);
      withActivationStorage(accelerator, precision.parameterStorage, () => setValues(whole, values));
      shardOf(whole)?.release();
    }
    pool.give(buffer);
  }
}

/**
 * Gathers rows of `tables` that have moved.
 * @param movedRows in the shard's numbering; null for all of them
 */
export async function gatherRows(
  { processGroup: group }: StrategyContext,
  tables: readonly Parameter[],
  pool: BufferPool,
  shardOf: ShardOf,
  movedRows: (shard: ReplicaShard) => Int32Array | null,
): Promise<void> {
  if (tables.length === 0) return;
  const moved = tables.map((table) => {
    const shard = shardOf(table);
    return shard === null ? new Int32Array(0) : movedRows(shard);
  });
  const counts = new Int32Array(tables.length * group.worldSize);
  await group.allGather(
    Int32Array.from(moved, (rows) => rows?.length ?? -1),
    counts,
  );
  for (const [i, table] of tables.entries()) {
    const byRank = Array.from({ length: group.worldSize }, (_, rank) => counts[rank * tables.length + i] as number);
    await gatherTable(group, pool, table, shardOf(table), moved[i] as Int32Array | null, byRank);
    shardOf(table)?.release();
  }
}

/** @param counts moved rows by rank; -1 for all of a rank's */
async function gatherTable(
  group: ProcessGroup,
  pool: BufferPool,
  table: Parameter,
  shard: ReplicaShard | null,
  moved: Int32Array | null,
  counts: readonly number[],
): Promise<void> {
  const width = rowSize(table.shape);
  const partOf = (rank: number) => shardRows(rowsOf(table.shape), rank, group.worldSize);
  const rowCounts = counts.map((count, rank) => (count === -1 ? partOf(rank).rows : count));
  const numberCounts = counts.map((count) => Math.max(count, 0));
  const numbers = pool.take('int32', sum(numberCounts));
  const { firstRow } = partOf(group.rank);
  if (numbers.length > 0)
    await group.allGather(moved?.map((row) => row + firstRow) ?? new Int32Array(0), numbers, numberCounts);
  const rows = pool.take('float32', sum(rowCounts) * width);
  const values = shard?.values() ?? new Float32Array(0);
  const own = pool.take('float32', (rowCounts[group.rank] as number) * width);
  if (moved === null) own.set(values);
  else for (const [i, row] of moved.entries()) own.set(values.subarray(row * width, (row + 1) * width), i * width);
  await group.allGather(
    own,
    rows,
    rowCounts.map((count) => count * width),
  );
  if (rows.length > 0)
    table.updateOnHost((data) => {
      let row = 0;
      let number = 0;
      for (const [rank, count] of counts.entries()) {
        const first = partOf(rank).firstRow;
        for (let k = 0; k < (rowCounts[rank] as number); k++, row++) {
          const to = count === -1 ? first + k : (numbers[number++] as number);
          data.set(rows.subarray(row * width, (row + 1) * width), to * width);
        }
      }
    });
  for (const buffer of [numbers, rows, own]) pool.give(buffer);
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
