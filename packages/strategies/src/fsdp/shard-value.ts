/** Rank zero's value of a parameter, shared out: each rank keeps its rows. */
import { hostValues, Parameter, tf, type ProcessGroup } from '@tensorloom/core';
import type { GatherContext } from './gathering.ts';
import { RowPartition } from './row-partition.ts';

/** Elements sent to each rank at a time, so that no second copy of a large table is ever held. */
const CHUNK_ELEMENTS = 1024 * 1024;

/** What a rank keeps of a parameter. */
export interface OwnRows {
  readonly partition: RowPartition;
  /** Null where it keeps none. */
  readonly shard: Parameter | null;
}

/** All ranks call it. Rank zero's whole value is read, on the others only their rows arrive; the parameter stays as it is. */
export async function shardValue(
  parameter: Parameter,
  { group, makeTensors }: Pick<GatherContext, 'group' | 'makeTensors'>,
): Promise<OwnRows> {
  const { rank, worldSize } = group;
  const partition = new RowPartition(parameter.shape, worldSize);
  const rows = new Float32Array(partition.sizeOf(rank));
  const whole = rank !== 0 ? null : parameter.onHost ? parameter.hostData() : hostValues(parameter.value);
  await scatterRows(group, partition, whole, rows);
  if (partition.rowsOf(rank) === 0) return { partition, shard: null };
  const placement = { firstRow: partition.firstRow(rank), wholeShape: parameter.shape };
  const made: Parameter[] = [];
  makeTensors(() => {
    made.push(new Parameter(tf.tensor(rows, partition.shapeOf(rank), 'float32'), placement));
  });
  const shard = made[0] as Parameter;
  shard.name = parameter.name;
  shard.storage = parameter.storage;
  if (parameter.pinnedToDevice) shard.pinToDevice();
  return { partition, shard };
}

async function scatterRows(
  group: ProcessGroup,
  partition: RowPartition,
  whole: Float32Array | null,
  rows: Float32Array,
): Promise<void> {
  const chunk = Math.min(CHUNK_ELEMENTS, partition.sizeOf(0));
  const sent = whole === null ? null : group.allocate('float32', chunk * group.worldSize);
  const received = group.allocate('float32', chunk);
  for (let from = 0; from < partition.sizeOf(0); from += chunk) {
    const counts = partition.counts.map((size) => Math.max(0, Math.min(chunk, size - from)));
    let at = 0;
    for (const [to, count] of counts.entries()) {
      const start = partition.offsetOf(to) + from;
      if (sent !== null && whole !== null) sent.set(whole.subarray(start, start + count), at);
      at += count;
    }
    const own = received.subarray(0, counts[group.rank]);
    await group.scatter(sent === null ? null : sent.subarray(0, at), own, 0, counts);
    rows.set(own, from);
  }
}
