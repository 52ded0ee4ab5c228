/** What a run says at its start of its options and its ranks. */
import type { BlockReport, Fabric } from '@tensorloom/core';
import type { ResolvedConfig } from '../config/resolve.ts';
import { flagName, optionKeys, type RunConfig } from '../config/schema.ts';
import type { Progress } from '../run/progress.ts';

/** Says which options hold and who chose them. Defaults are in the run folder's config.yaml. */
export function describeOptions({ config, origins, recipe }: ResolvedConfig, progress: Pick<Progress, 'line'>): void {
  progress.line(`recipe: ${recipe}`);
  const byOrigin = new Map<string, string[]>();
  for (const key of optionKeys) {
    const origin = origins[key];
    if (config[key] === undefined || origin === undefined || origin === 'default') continue;
    byOrigin.set(origin, [...(byOrigin.get(origin) ?? []), `${flagName(key)}=${String(config[key])}`]);
  }
  for (const [origin, options] of byOrigin) progress.line(`  ${origin}: ${options.join(' ')}`);
}

/** Groups that are known to users by another name. */
const shownGroups: Readonly<Record<string, string>> = {
  hierarchical: 'shm+ws',
  // The ranks have settled among them which machines use shared memory.
  sharing: 'ws between machines',
};

/** How the work of a step is shared, and how ranks talk. One rank alone has nothing to say. */
export function describeRanks(
  config: Pick<RunConfig, 'strategy' | 'accumulate' | 'microBatchSize'>,
  fabric: Pick<Fabric, 'worldSize' | 'processGroupName'>,
  progress: Pick<Progress, 'line'>,
): void {
  const { worldSize, processGroupName } = fabric;
  if (worldSize === 1) return;
  const { strategy, accumulate, microBatchSize } = config;
  progress.line(
    `${strategy} on ${worldSize} ranks over ${shownGroups[processGroupName] ?? processGroupName}: each takes ${accumulate / worldSize} of the ${accumulate} micro-batches of a step, of ${microBatchSize} texts`,
  );
}

/** What `--compile` and `--activation-checkpointing` came to; without them there is nothing to say. */
export function describeBlocks(
  config: Pick<RunConfig, 'compile' | 'activationCheckpointing'>,
  { blocks, compiled, recomputed, plain }: BlockReport,
  progress: Pick<Progress, 'line'>,
): void {
  const lines = [
    ...(config.compile ? [`compiled ${compiled} of ${blocks} transformer blocks`] : []),
    ...(config.activationCheckpointing
      ? [`backward computes ${recomputed} of ${blocks} transformer blocks again`]
      : []),
  ];
  if (lines.length > 0) progress.line(lines.join(' | '));
  for (const reason of new Set(plain.map((block) => block.reason))) {
    const names = plain.filter((block) => block.reason === reason).map(({ name }) => name);
    progress.line(`  op by op: ${names.join(', ')}: ${reason}`);
  }
}
