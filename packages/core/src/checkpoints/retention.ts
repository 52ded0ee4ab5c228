/** Which checkpoints of a folder are whole, which is the newest, and which may go. */
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TensorloomError } from '../errors.ts';
import { isTemporaryName, recoverFolder, removeFolder, removeLeftovers } from './atomic-write.ts';
import { isCompleteCheckpoint } from './checkpoint-folder.ts';

/**
 * Paths of the complete checkpoints directly in `folder`, the newest first: by the last number in their names
 * (`step-200` before `step-30`), without one by time of writing. Incomplete ones are left out.
 */
export async function completeCheckpoints(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return [];
  await recoverReplaced(folder);
  const found: { path: string; number: number; time: number }[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (!entry.isDirectory() || isTemporaryName(entry.name) || !(await isCompleteCheckpoint(path))) continue;
    const number = /(\d+)(?!.*\d)/.exec(entry.name)?.[1];
    found.push({
      path,
      number: number === undefined ? -1 : Number(number),
      time: (await stat(join(path, 'state.json'))).mtimeMs,
    });
  }
  found.sort((a, b) => b.number - a.number || b.time - a.time);
  return found.map(({ path }) => path);
}

/** The newest complete checkpoint in `folder`, or `null`. What writers that died left behind is never taken. */
export async function newestCompleteCheckpoint(folder: string): Promise<string | null> {
  return (await completeCheckpoints(folder))[0] ?? null;
}

/**
 * Removes all but the newest `keep` complete checkpoints and the leftovers of writers that died. Never removes the only
 * complete one. Returns the paths removed.
 * @throws TensorloomError `BAD_OPTION` unless `keep` is a whole number of at least 1
 */
export async function pruneCheckpoints(folder: string, keep: number): Promise<string[]> {
  if (!Number.isInteger(keep) || keep < 1)
    throw new TensorloomError('BAD_OPTION', `pruneCheckpoints keeps at least 1 checkpoint; got ${keep}.`);
  const surplus = (await completeCheckpoints(folder)).slice(keep);
  for (const path of surplus) await removeFolder(path);
  if (existsSync(folder)) await removeLeftovers(folder);
  return surplus;
}

/** Folders that a process, killed while replacing them, had moved aside. */
async function recoverReplaced(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const original = /^\.(.+)\.replaced$/.exec(name)?.[1];
    if (original !== undefined) await recoverFolder(join(folder, original));
  }
}
