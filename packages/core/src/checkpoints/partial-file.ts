/** Files that come in pieces over several runs, as downloads do: each part is one process's own while it is appended to. */
import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isAlive } from './atomic-write.ts';

/**
 * Takes `shared` (what an earlier run has left there, if anything) for this caller alone and returns the path to append to; what
 * processes of this machine left when they were killed is taken as well. Two at once never write to one file: the second begins anew.
 * The file need not exist yet; the folder must.
 */
export async function claimPartialFile(shared: string): Promise<string> {
  const own = `${shared}.${thisHost()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  for (const candidate of [shared, ...(await orphansOf(shared))])
    try {
      await rename(candidate, own);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  return own;
}

/** Leaves what has come, if anything, for a later run to claim; of two parts the longer stays. Does nothing if `own` is gone. */
export async function returnPartialFile(own: string, shared: string): Promise<void> {
  const [ownBytes, sharedBytes] = await Promise.all([sizeOf(own), sizeOf(shared)]);
  if (ownBytes === -1) return;
  if (ownBytes > sharedBytes) await rename(own, shared);
  else await rm(own, { force: true });
}

async function orphansOf(shared: string): Promise<string[]> {
  const folder = dirname(shared);
  const prefix = `${basename(shared)}.${thisHost()}-`;
  return (await readdir(folder))
    .filter((name) => {
      const pid = name.startsWith(prefix) ? /^(\d+)-[0-9a-f]{8}$/.exec(name.slice(prefix.length))?.[1] : undefined;
      return pid !== undefined && !isAlive(Number(pid));
    })
    .map((name) => join(folder, name));
}

/** Other machines may share the folder, and their processes' ids mean nothing here. */
function thisHost(): string {
  return hostname().replace(/[^A-Za-z0-9]/g, '_');
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => -1,
  );
}
