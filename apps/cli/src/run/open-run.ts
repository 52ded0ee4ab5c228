/** Rank zero's part in starting a run: its folder, made or found again, and the checkpoint to go on from. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { completeCheckpoints, makeFolders, writeFileAtomically } from '@tensorloom/core';
import type { ResolvedConfig } from '../config/resolve.ts';
import { newestWholeCheckpoint } from './checkpoints.ts';
import { createRunFolder, discardAtExit, writeConfig } from './create-run-folder.ts';
import type { Progress } from './progress.ts';
import { RunFolder } from './run-folder.ts';

export interface OpenedRun {
  readonly folder: RunFolder;
  /** Undefined for a run that starts from the beginning. */
  readonly checkpoint: string | undefined;
  /** From here on the folder stays, however the process ends. */
  keep(): void;
}

export interface RunToOpen {
  readonly resolved: ResolvedConfig;
  /** Of `--resume`. */
  readonly folder?: RunFolder;
}

/**
 * @param job which launch of ranks this is part of, where a launcher may start them anew
 * @throws UsageError if the folder cannot be made, TensorloomError `BAD_CHECKPOINT` if there is nothing to go on from
 */
export async function openRunFolder(
  request: RunToOpen,
  job: LaunchedJob | undefined,
  progress: Progress,
): Promise<OpenedRun> {
  const keep = (): void => {};
  if (request.folder !== undefined)
    return { folder: request.folder, checkpoint: await newestWholeCheckpoint(request.folder, progress), keep };
  const earlier = job?.restarts === 0 ? undefined : folderOfJob(request.resolved, job);
  if (earlier !== undefined) {
    const isCheckpointed = (await completeCheckpoints(earlier.checkpoints)).length > 0;
    if (isCheckpointed) return { folder: earlier, checkpoint: await newestWholeCheckpoint(earlier, progress), keep };
    // Nothing was saved before the failure: the run begins anew, in its folder.
    rmSync(earlier.path, { recursive: true, force: true });
    makeFolders(earlier.checkpoints);
    await writeConfig(earlier, request.resolved);
  }
  const folder = earlier ?? (await createRunFolder(request.resolved, new Date()));
  if (job !== undefined) await writeFileAtomically(folder.job, `${job.id}\n`);
  return { folder, checkpoint: undefined, keep: discardAtExit(folder) };
}

/** A launch of ranks, over all its restarts. */
export interface LaunchedJob {
  readonly id: string;
  readonly restarts: number;
}

/** Undefined where no launcher of ours has started this process. Each start of the ranks has a job id of its own, which ends in the restart count. */
export function launchedJob(variables: Readonly<Record<string, string | undefined>>): LaunchedJob | undefined {
  const { TENSORLOOM_JOB_ID: id, TENSORLOOM_RESTART_COUNT: count } = variables;
  if (id === undefined || count === undefined) return undefined;
  return { id: id.endsWith(`-${count}`) ? id.slice(0, -count.length - 1) : id, restarts: Number(count) };
}

/** The folder that an earlier start of the job's ranks made, the newest where there are several. */
function folderOfJob({ config }: ResolvedConfig, job: LaunchedJob | undefined): RunFolder | undefined {
  if (job === undefined || !existsSync(config.outputDir)) return undefined;
  const names = config.runName === undefined ? readdirSync(config.outputDir) : [config.runName];
  const ofJob = names
    .map((name) => new RunFolder(join(config.outputDir, name)))
    .filter(({ job: path }) => existsSync(path) && readFileSync(path, 'utf8').trim() === job.id);
  const timeOf = ({ job: path }: RunFolder): number => statSync(path).mtimeMs;
  return ofJob.sort((a, b) => timeOf(b) - timeOf(a))[0];
}
