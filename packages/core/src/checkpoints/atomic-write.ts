/** Files and folders that appear whole or not at all: temporary name, fsync, rename, fsync of the folder that holds them. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { TensorloomError } from '../errors.ts';
import { makeFolders } from './make-folders.ts';

/** Receives a file's bytes in order. */
export type ByteSink = (chunk: Uint8Array) => Promise<void>;

/** What was written: for checksums kept elsewhere. */
export interface WrittenFile {
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** One write call carries at most this much: Linux takes no more than 2 GiB at once. */
const maxWriteBytes = 64 * 1024 * 1024;

/**
 * Writes `path` whole or leaves what was there: on any failure (a full disk, an exception of `content`) the temporary
 * file is removed and an older file stays as it was. Missing folders above it are made.
 * @throws TensorloomError `IO` for failures of the file system; errors of `content` pass through
 */
export async function writeFileAtomically(
  path: string,
  content: string | Uint8Array | ((sink: ByteSink) => Promise<void>),
): Promise<WrittenFile> {
  const target = resolve(path);
  const temporary = join(dirname(target), temporaryName(basename(target)));
  return explained(target, async () => {
    makeFolders(dirname(target));
    try {
      const written = await writeSynced(temporary, content);
      await rename(temporary, target);
      await syncFolder(dirname(target));
      return written;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  });
}

/** Writes a new file and fsyncs it, without a temporary name: for files inside a folder that is itself temporary. */
export async function writeSynced(
  path: string,
  content: string | Uint8Array | ((sink: ByteSink) => Promise<void>),
): Promise<WrittenFile> {
  const handle = await open(path, 'wx');
  try {
    const hash = createHash('sha256');
    let bytes = 0;
    const sink: ByteSink = async (chunk) => {
      for (let start = 0; start < chunk.byteLength; start += maxWriteBytes) {
        const part = chunk.subarray(start, start + maxWriteBytes);
        hash.update(part);
        await writeFully(handle, part);
        bytes += part.byteLength;
      }
    };
    if (typeof content === 'function') await content(sink);
    else await sink(typeof content === 'string' ? new TextEncoder().encode(content) : content);
    await handle.sync();
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    await handle.close();
  }
}

/** A folder that is being filled under a temporary name beside its own. */
export interface UnfinishedFolder {
  readonly temporary: string;
  /** Renames it into place. An older folder of that name stays until then; should the process die between the two renames, `recoverFolder` puts it back. */
  commit(): Promise<void>;
  /** Removes it; what was there before stays. Does nothing after `commit`. */
  abandon(): Promise<void>;
}

/** Makes an empty folder to fill and then rename to `folder`. @throws TensorloomError `IO` for failures of the file system */
export async function beginFolder(folder: string): Promise<UnfinishedFolder> {
  const target = resolve(folder);
  const parent = dirname(target);
  const temporary = join(parent, temporaryName(basename(target)));
  await explained(target, async () => {
    makeFolders(parent);
    await recoverFolder(target);
    await mkdir(temporary);
  });
  return {
    temporary,
    commit: () =>
      explained(target, async () => {
        await syncFolder(temporary);
        await exchange(temporary, target);
        await syncFolder(parent);
      }),
    // Another rank may still be writing into it; what cannot be removed now, `removeLeftovers` does. Why it failed is the caller's to tell.
    abandon: () => rm(temporary, { recursive: true, force: true, maxRetries: 3 }).catch(() => {}),
  };
}

/**
 * Fills a temporary sibling of `folder` by `fill` and renames it into place, or leaves what was there.
 * @throws TensorloomError `IO` for failures of the file system; errors of `fill` pass through
 */
export async function writeFolderAtomically(
  folder: string,
  fill: (temporaryFolder: string) => Promise<void>,
): Promise<void> {
  const unfinished = await beginFolder(folder);
  try {
    await explained(folder, () => fill(unfinished.temporary));
    await unfinished.commit();
  } catch (error) {
    await unfinished.abandon();
    throw error;
  }
}

/** Removes a folder, which is gone as a whole at once: what a process killed on the way leaves is a leftover, not half a folder. @throws TensorloomError `IO` */
export async function removeFolder(folder: string): Promise<void> {
  const target = resolve(folder);
  const doomed = join(dirname(target), temporaryName(basename(target)));
  try {
    await rename(target, doomed);
    await rm(doomed, { recursive: true, force: true });
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new TensorloomError('IO', `Cannot remove ${target}: ${causes[code] ?? message} (${code}).`, { cause: error });
  }
}

/** Puts back a folder that a process, killed while replacing it, had already moved aside. */
export async function recoverFolder(folder: string): Promise<void> {
  const target = resolve(folder);
  const aside = replacedName(target);
  if (!existsSync(aside)) return;
  if (existsSync(target)) await rm(aside, { recursive: true, force: true });
  else await rename(aside, target);
}

/** Whether a directory entry is a leftover of a write that did not end, by the names used here. */
export function isTemporaryName(name: string): boolean {
  return /^\..*\.(tmp-[0-9]+-[0-9a-f]+|replaced)$/.test(name);
}

/** Removes what writers that died left in `parent`: temporary files and folders of processes that are no more. */
export async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = /^\..*\.tmp-([0-9]+)-[0-9a-f]+$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(parent, name), { recursive: true, force: true });
  }
}

async function exchange(temporary: string, target: string): Promise<void> {
  if (!existsSync(target)) return rename(temporary, target);
  const aside = replacedName(target);
  await rename(target, aside);
  try {
    await rename(temporary, target);
  } catch (error) {
    await rename(aside, target);
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

function temporaryName(name: string): string {
  return `.${name}.tmp-${process.pid}-${randomBytes(4).toString('hex')}`;
}

function replacedName(target: string): string {
  return join(dirname(target), `.${basename(target)}.replaced`);
}

/** Whether a process of this machine has that id. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function writeFully(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let written = 0;
  while (written < chunk.byteLength)
    written += (await handle.write(chunk, written, chunk.byteLength - written)).bytesWritten;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const causes: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some space',
  EDQUOT: 'the disk quota is used up; free some space',
  EACCES: 'permission denied; choose a folder that you can write to',
  EPERM: 'permission denied; choose a folder that you can write to',
  EROFS: 'the file system is read-only; choose another folder',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EFBIG: 'the file system takes no file of this size',
};

/** Turns an error of the file system while `path` is written into one that says what to do. */
export async function explained<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (error instanceof TensorloomError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) throw error;
    const cause = causes[code] ?? (error as Error).message;
    throw new TensorloomError('IO', `Cannot write ${path}: ${cause} (${code}). What was there before is unchanged.`, {
      cause: error,
    });
  }
}
