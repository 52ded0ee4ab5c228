/** Rank zero's value of a parameter, shared out: each rank keeps its rows. */
import { Parameter, tf } from '@tensorloom/core';
import type { GatherContext } from './gathering.ts';
import { RowPartition } from './row-partition.ts';

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
  const rows = group.allocate('float32', partition.sizeOf(rank));
  const whole = rank !== 0 ? null : parameter.onHost ? parameter.hostData() : parameter.value.dataSync<'float32'>();
  await group.scatter(whole, rows, 0, partition.counts);
  if (partition.rowsOf(rank) === 0) return { partition, shard: null };
  const placement = { firstRow: partition.firstRow(rank), wholeShape: parameter.shape };
  const made: Parameter[] = [];
  makeTensors(() => {
    made.push(new Parameter(tf.tensor(rows.slice(), partition.shapeOf(rank), 'float32'), placement));
  });
  const shard = made[0] as Parameter;
  shard.name = parameter.name;
  if (parameter.pinnedToDevice) shard.pinToDevice();
  return { partition, shard };
}
