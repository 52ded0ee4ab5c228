/** One file of a hub model into the cache: resumed where an earlier try stopped, checked by its hash, then put in place. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { copyFile, open, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { downloadFile, type ListFileEntry } from '@huggingface/hub';
import { claimPartialFile, makeFolders, returnPartialFile, TensorloomError } from '@tensorloom/core';

/** How far the download of one file is. */
export interface DownloadProgress {
  readonly file: string;
  /** Bytes of this file that are here. */
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface FileToDownload {
  readonly hubUrl: string;
  readonly accessToken?: string;
  /** Folder of the repository in the cache: blobs, snapshots and refs lie below it. */
  readonly repositoryFolder: string;
  readonly id: string;
  readonly commit: string;
  readonly entry: ListFileEntry;
}

/**
 * Downloads a file unless it is there, to blobs/HASH with a link from snapshots/COMMIT (huggingface_hub's layout).
 * @throws TensorloomError `BAD_FILE` if what arrived has another hash, `IO` if the cache cannot be written; a TypeError of fetch where the network fails (the part that came is kept)
 */
export async function downloadToCache(
  file: FileToDownload,
  onProgress?: (progress: DownloadProgress) => void,
  fetchFile = fetch,
): Promise<void> {
  const { entry, repositoryFolder, commit } = file;
  if (entry.path !== basename(entry.path))
    throw new TensorloomError('BAD_FILE', `${file.id} on the hub: ${entry.path} is not a plain file name.`);
  const hash = entry.lfs?.oid ?? entry.oid;
  if (hash === undefined || !/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(hash))
    throw new TensorloomError('BAD_FILE', `${file.id} on the hub: ${entry.path} has no usable hash (${hash}).`);
  const blob = join(repositoryFolder, 'blobs', hash);
  const pointer = join(repositoryFolder, 'snapshots', commit, entry.path);
  if (existsSync(pointer)) return;
  try {
    makeFolders(dirname(blob));
    makeFolders(dirname(pointer));
  } catch (error) {
    throw new TensorloomError(
      'IO',
      `Cannot make a folder in the hub's cache: ${(error as Error).message}. Set HF_HUB_CACHE to a folder that you can write to.`,
      { cause: error },
    );
  }
  if (!existsSync(blob)) {
    const shared = `${blob}.incomplete`;
    const own = await claimPartialFile(shared);
    try {
      await fetchBlob(file, hash, own, onProgress, fetchFile);
      await rename(own, blob);
    } finally {
      await returnPartialFile(own, shared);
    }
  }
  await link(blob, pointer);
}

/** A transfer that brings nothing for so long counts as a failed network. */
const idleTimeoutMs = 60_000;

async function fetchBlob(
  { entry, id, commit, hubUrl, accessToken }: FileToDownload,
  expected: string,
  path: string,
  onProgress: ((progress: DownloadProgress) => void) | undefined,
  fetchFile: typeof fetch,
): Promise<void> {
  const totalBytes = entry.lfs?.size ?? entry.size;
  let bytes = existsSync(path) ? statSync(path).size : 0;
  if (bytes > totalBytes) bytes = 0;
  const hash = startHash(expected, totalBytes);
  if (bytes > 0) for await (const chunk of createReadStream(path, { end: bytes - 1 })) hash.update(chunk as Buffer);
  const output = await open(path, bytes === 0 ? 'w' : 'a');
  try {
    onProgress?.({ file: entry.path, bytes, totalBytes });
    if (bytes < totalBytes) {
      const idle = new AbortController();
      const timer = setTimeout(
        () => idle.abort(new TypeError(`nothing arrived for ${idleTimeoutMs / 1000} s`)),
        idleTimeoutMs,
      );
      const watched: typeof fetch = (input, init) => fetchFile(input, { ...init, signal: idle.signal });
      try {
        const remote = await downloadFile({
          hubUrl,
          repo: id,
          path: entry.path,
          revision: commit,
          fetch: watched,
          ...(accessToken ? { accessToken } : {}),
        });
        if (remote === null) throw new TensorloomError('BAD_FILE', `${id} on the hub has no file ${entry.path}.`);
        const part = bytes === 0 ? remote : remote.slice(bytes);
        for await (const chunk of part.stream() as unknown as AsyncIterable<Uint8Array>) {
          timer.refresh();
          // Not `write`, which may take a part only.
          await output.appendFile(chunk);
          hash.update(chunk);
          bytes += chunk.byteLength;
          onProgress?.({ file: entry.path, bytes, totalBytes });
        }
      } catch (error) {
        // The hub's client ends a broken stream with a bare string.
        throw error instanceof Error ? error : new TypeError(String(error));
      } finally {
        clearTimeout(timer);
      }
    }
    await output.sync();
  } finally {
    await output.close();
  }
  if (bytes < totalBytes)
    throw new TypeError(`the connection ended after ${bytes} of ${totalBytes} bytes of ${entry.path}`);
  const actual = hash.digest('hex');
  if (bytes === totalBytes && actual === expected) return;
  await rm(path, { force: true });
  throw new TensorloomError(
    'BAD_FILE',
    `${entry.path} of ${id} arrived broken: hash ${actual} instead of ${expected}. It was removed; try again.`,
  );
}

/** Large files are named by their SHA-256, small ones by git's object id, which hashes a header first. */
function startHash(expected: string, bytes: number): Hash {
  return expected.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
}

async function link(blob: string, pointer: string): Promise<void> {
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    // Windows without the right to make links: the cache's documented fallback is a copy.
    await copyFile(blob, pointer);
  }
}
