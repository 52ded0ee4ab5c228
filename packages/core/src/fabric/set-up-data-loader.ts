/** Checks a loader, takes this rank's share of it, and wraps that. */
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import { FabricDataLoader, type AnyLoader, type DataLoaderHooks } from './fabric-data-loader.ts';

/** Options of `fabric.setupDataLoader`. */
export interface SetUpDataLoaderOptions {
  /** Each rank gets its share (default true). */
  readonly useDistributedSampler?: boolean;
  /** HostTensors in batches become tensors of the device (default true). */
  readonly moveToDevice?: boolean;
  /** In training (default) all ranks get equally many batches; in evaluation each item counts once. */
  readonly training?: boolean;
}

/** @throws TensorloomError `MISUSE` for what is no loader, was set up before, or cannot be shared among ranks */
export function setUpDataLoader<Batch>(
  loader: AnyLoader<Batch>,
  group: ProcessGroup,
  options: SetUpDataLoaderOptions,
  {
    joinEvaluation,
    ...hooks
  }: Pick<DataLoaderHooks, 'delivered' | 'ended'> & {
    /** `Strategy.joinEvaluation` */
    readonly joinEvaluation?: () => Promise<void> | undefined;
  },
): FabricDataLoader<Batch> {
  const { useDistributedSampler = true, moveToDevice = true, training = true } = options;
  if (loader instanceof FabricDataLoader) throw new TensorloomError('MISUSE', 'This loader was set up before.');
  if (typeof loader !== 'object' || loader === null || !(Symbol.asyncIterator in loader || Symbol.iterator in loader))
    throw new TensorloomError(
      'MISUSE',
      'setupDataLoader takes an object that can be iterated over (for await); give a loader, not a call of its iterator method.',
    );
  const { rank, worldSize } = group;
  let share = loader;
  if (useDistributedSampler && worldSize > 1) {
    if (loader.shard === undefined)
      throw new TensorloomError(
        'MISUSE',
        'This loader cannot be shared among ranks: it has no method shard(rank, worldSize). Add one, or share the data yourself and pass useDistributedSampler: false.',
      );
    share = loader.shard(rank, worldSize, { training }) as AnyLoader<Batch>;
  }
  return new FabricDataLoader<Batch>(share, {
    ...hooks,
    moveToDevice,
    ...(training ? { begins: () => checkEqualLengths(share.length, group) } : {}),
    ...(!training && joinEvaluation ? { join: async () => joinEvaluation() } : {}),
  });
}

/** Ranks that ran out of batches would leave the others waiting for their gradients. */
async function checkEqualLengths(length: number | undefined, group: ProcessGroup): Promise<void> {
  if (group.worldSize === 1) return;
  const lengths = new Float64Array(group.worldSize);
  await group.allGather(Float64Array.of(length ?? NaN), lengths);
  const known = [...lengths].filter((each) => !Number.isNaN(each));
  if (new Set(known).size <= 1) return;
  const byRank = [...lengths].map((each, rank) => `rank ${rank}: ${Number.isNaN(each) ? 'unknown' : each}`);
  throw new TensorloomError(
    'BAD_DATA',
    `Ranks have different numbers of batches to train on (${byRank.join(', ')}), so that some would wait for others for ever. ` +
      'Let Fabric share the data (useDistributedSampler), give each rank equally many batches, or, for evaluation, set training to false.',
  );
}
