/** The checkpoints of a run by name. What is in them, which are complete and which go is Fabric's and core's matter. */
import { basename } from 'node:path';
import { completeCheckpoints, isCompleteCheckpoint, TensorloomError } from '@tensorloom/core';
import type { Progress } from './progress.ts';
import type { RunFolder } from './run-folder.ts';

/** `step-000012-micro-batch-000192`: both counts, since a checkpoint may lie in the middle of a step. */
export function checkpointName(step: number, microBatches: number): string {
  const digits = (n: number): string => String(n).padStart(6, '0');
  return `step-${digits(step)}-micro-batch-${digits(microBatches)}`;
}

/** Micro-batches done at a checkpoint, by its name. */
export function microBatchesOf(checkpoint: string): number {
  return Number(/(\d+)$/.exec(basename(checkpoint))?.[1] ?? 0);
}

/**
 * Path of the newest checkpoint of which every byte is as it was written; says which ones are not.
 * @throws TensorloomError `BAD_CHECKPOINT` if there is none
 */
export async function newestWholeCheckpoint(folder: RunFolder, progress: Pick<Progress, 'line'>): Promise<string> {
  for (const path of await completeCheckpoints(folder.checkpoints)) {
    if (await isCompleteCheckpoint(path, true)) return path;
    progress.line(`${path} is damaged; an older one is taken`);
  }
  throw new TensorloomError(
    'BAD_CHECKPOINT',
    `${folder.path} has no complete checkpoint to go on from. Start the run again, with --config=${folder.configYaml} for its options.`,
  );
}
