/** From what `tensorloom consolidate` is given to a checkpoint that was checked, and the run it belongs to. */
import { existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CheckpointFolderIO, completeCheckpoints, TensorloomError, type OpenedCheckpoint } from '@tensorloom/core';
import { UsageError } from './errors.ts';
import { RunFolder } from './run/run-folder.ts';

export interface FoundCheckpoint {
  readonly path: string;
  readonly opened: OpenedCheckpoint;
  /** Undefined for a checkpoint that lies elsewhere. */
  readonly run: RunFolder | undefined;
}

/**
 * Opens a checkpoint folder, or the newest whole one of a run folder or of a folder of checkpoints; says which newer ones are damaged.
 * @throws UsageError if there is nothing of the kind, TensorloomError `BAD_CHECKPOINT` if none is whole
 */
export async function findCheckpoint(given: string): Promise<FoundCheckpoint> {
  if (!existsSync(given)) throw new UsageError(`${given} does not exist. Give a checkpoint folder or a run folder.`);
  if (!statSync(given).isDirectory())
    throw new UsageError(`${given} is a file. Give the folder of a checkpoint or of a run.`);
  const run = new RunFolder(given);
  const folder = existsSync(run.checkpoints) ? run.checkpoints : given;
  const isCheckpoint = existsSync(join(given, 'state.json'));
  const candidates = isCheckpoint ? [given] : await completeCheckpoints(folder);
  if (candidates.length === 0)
    throw folder === given
      ? new TensorloomError(
          'BAD_CHECKPOINT',
          `${given} is not a complete checkpoint (it has no state.json), nor does it hold any. Give a checkpoint folder or a run folder.`,
        )
      : new TensorloomError('BAD_CHECKPOINT', `${given} is a run without a complete checkpoint.`);
  return openNewest(candidates);
}

async function openNewest([newest, ...older]: readonly string[]): Promise<FoundCheckpoint> {
  const path = newest as string;
  try {
    return { path, opened: await new CheckpointFolderIO().openCheckpoint(path), run: runOf(path) };
  } catch (error) {
    const isDamaged = error instanceof TensorloomError && error.code === 'BAD_CHECKPOINT';
    if (!isDamaged || older.length === 0) throw error;
    process.stderr.write(`${error.message} An older one is taken.\n`);
    return openNewest(older);
  }
}

/** A run keeps its checkpoints two folders below itself. */
function runOf(checkpoint: string): RunFolder | undefined {
  const run = new RunFolder(dirname(dirname(resolve(checkpoint))));
  return existsSync(run.configJson) && resolve(dirname(checkpoint)) === resolve(run.checkpoints) ? run : undefined;
}
