/** Pieces that a user replaces by their own, told apart by what they can do. */
import type { CheckpointIO } from '../checkpoints/checkpoint-io.ts';
import type { ClusterEnvironment } from '../distributed/cluster-environment.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { Precision } from '../precision/precision.ts';

/** A piece of one of these kinds takes the place of the built-in one. */
export type Plugin = Precision | CheckpointIO | ClusterEnvironment | ProcessGroup;

export interface SortedPlugins {
  precision?: Precision;
  checkpointIO?: CheckpointIO;
  clusterEnvironment?: ClusterEnvironment;
  processGroup?: ProcessGroup;
}

/** A member that only one kind has. */
const marks: readonly (readonly [keyof SortedPlugins, string])[] = [
  ['precision', 'autocast'],
  ['checkpointIO', 'openCheckpoint'],
  ['clusterEnvironment', 'globalRank'],
  ['processGroup', 'allReduce'],
];

/** @throws TensorloomError `BAD_OPTION` for an object of no known kind, `CONFLICTING_OPTIONS` for two of one kind */
export function sortPlugins(plugins: readonly Plugin[]): SortedPlugins {
  const sorted: Record<string, Plugin> = {};
  for (const [index, plugin] of plugins.entries()) {
    const kind = marks.find(([, member]) => member in plugin)?.[0];
    if (kind === undefined)
      throw new TensorloomError(
        'BAD_OPTION',
        `Fabric: plugin ${index} is neither a Precision, a CheckpointIO, a ClusterEnvironment nor a ProcessGroup.`,
      );
    if (kind in sorted)
      throw new TensorloomError('CONFLICTING_OPTIONS', `Fabric: two plugins of kind ${kind} are given; leave one out.`);
    sorted[kind] = plugin;
  }
  return sorted;
}
