/** The checkpoints of a run: names, which are there, and which are kept. Their content is Fabric's (`fabric.save`). */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const pattern = /^step-(\d+)-micro-batch-(\d+)$/;

/** `step-000012-micro-batch-000192`: both counts, since a checkpoint may lie in the middle of a step. */
export function checkpointName(step: number, microBatches: number): string {
  const digits = (n: number): string => String(n).padStart(6, '0');
  return `step-${digits(step)}-micro-batch-${digits(microBatches)}`;
}

/** Paths of the complete checkpoints in `folder`, the newest first. An unfinished one has another name. */
export function listCheckpoints(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((name) => ({ name, microBatches: Number(pattern.exec(name)?.[2] ?? Number.NaN) }))
    .filter(({ microBatches }) => !Number.isNaN(microBatches))
    .sort((a, b) => b.microBatches - a.microBatches)
    .map(({ name }) => join(folder, name));
}

/** Removes all but the newest `keep`. */
export function removeOldCheckpoints(folder: string, keep: number): void {
  for (const path of listCheckpoints(folder).slice(keep)) rmSync(path, { recursive: true, force: true });
}
