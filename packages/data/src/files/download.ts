/** Downloads one file: goes on where a cut connection stopped, checks size and MD5, and says what to do without a network. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { claimPartialFile, makeFolders, returnPartialFile, TensorloomError } from '@tensorloom/core';
import { reasonOf } from './reason.ts';

/** Options of `downloadFile`. */
export interface DownloadOptions {
  readonly url: string;
  /** Where the file goes. What comes of an attempt that fails is kept as `path` + `.part`, which a later call continues. */
  readonly path: string;
  /** Expected size and MD5; checked before the file gets its name. */
  readonly bytes?: number;
  readonly md5?: string;
  readonly onProgress?: (bytesDone: number, bytesTotal: number) => void;
  /** A sentence for errors: what the user can do instead. */
  readonly advice?: string;
  /** Connections in a row without a new byte before giving up (default 5; at most 2 where no server can be reached). Each continues the last. */
  readonly attempts?: number;
  /** Pause before the second attempt, doubled for each further one (default 500). */
  readonly retryDelayMs?: number;
  /** A connection that sends nothing for so long counts as cut (default 30,000). */
  readonly idleTimeoutMs?: number;
}

/** A response that will not get better by asking again. */
class Refused extends Error {}
/** No server answered: no network, no such name, nothing listens. */
class Unreachable extends Error {}

/**
 * Does nothing where `path` exists: it got its name only after its check. Processes that download the same file at once do not disturb
 * each other.
 * @throws TensorloomError `OFFLINE` if the server cannot be reached or keeps breaking off, `BAD_DATA` if what came has another checksum
 *   (it is deleted), `IO` if it cannot be written
 */
export async function downloadFile(options: DownloadOptions): Promise<void> {
  const { path } = options;
  if (await sizeOf(path)) return;
  try {
    makeFolders(dirname(path));
  } catch (error) {
    throw new TensorloomError(
      'IO',
      `Cannot make the folder ${dirname(path)}: ${reasonOf(error)}. Set TENSORLOOM_CACHE to a folder that you can write to.`,
      { cause: error },
    );
  }
  const shared = `${path}.part`;
  const part = await claimPartialFile(shared).catch(ioError(`Cannot write ${path}`));
  try {
    await receiveAll(options, part);
    await check(options, part);
    await rename(part, path).catch(ioError(`Cannot write ${path}`));
  } finally {
    await returnPartialFile(part, shared);
  }
}

/** Attempt after attempt, each where the last one stopped. */
async function receiveAll(options: DownloadOptions, part: string): Promise<void> {
  const { url, bytes, advice = '', attempts = 5, retryDelayMs = 500 } = options;
  // A part that is too long cannot be of this file.
  if (bytes !== undefined && (await sizeOf(part)) > bytes) await rm(part, { force: true });
  for (let attempt = 1; ; attempt++) {
    const before = await sizeOf(part);
    if (before === bytes) return;
    try {
      await receive(options, part);
      return;
    } catch (error) {
      if (error instanceof TensorloomError) throw error;
      if ((await sizeOf(part)) > before) attempt = 1;
      const limit =
        error instanceof Refused ? attempt : error instanceof Unreachable ? Math.min(2, attempts) : attempts;
      if (attempt >= limit)
        throw new TensorloomError(
          'OFFLINE',
          `Cannot download ${url}: ${reasonOf(error)} (attempt ${attempt} of ${limit}). What came so far is kept: running again continues it. ${advice}`.trim(),
          { cause: error },
        );
      await new Promise((done) => setTimeout(done, retryDelayMs * 2 ** (attempt - 1)));
    }
  }
}

async function receive(options: DownloadOptions, part: string): Promise<void> {
  const { idleTimeoutMs = 30_000 } = options;
  const have = await sizeOf(part);
  const abort = new AbortController();
  let idle = setTimeout(() => abort.abort(), idleTimeoutMs);
  try {
    const headers = have > 0 ? { range: `bytes=${have}-` } : {};
    const response = await fetch(options.url, { headers, signal: abort.signal }).catch((error: unknown) => {
      throw new Unreachable(`${reasonOf(error)}: ${reasonOf((error as Error).cause ?? 'no answer')}`, {
        cause: error,
      });
    });
    // 416: nothing lies beyond what we have. Either it is all there, which the check finds out, or it is of another file.
    if (response.status === 416) return;
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      const message = `the server answered ${response.status} ${response.statusText}`;
      throw response.status >= 500 || response.status === 429 ? new Error(message) : new Refused(message);
    }
    const from = startOf(response, have);
    const announced = Number(response.headers.get('content-length') ?? NaN);
    const total = options.bytes ?? (Number.isNaN(announced) ? 0 : from + announced);
    const file = await open(part, from > 0 ? 'r+' : 'w').catch(ioError(`Cannot write ${part}`));
    let done = from;
    try {
      for await (const chunk of response.body) {
        clearTimeout(idle);
        idle = setTimeout(() => abort.abort(), idleTimeoutMs);
        await writeAll(file, chunk as Uint8Array, done, part);
        done += (chunk as Uint8Array).length;
        options.onProgress?.(done, total);
      }
      await file.sync().catch(ioError(`Cannot write ${part}`));
    } finally {
      await file.close();
    }
    if (total > 0 && done < total) throw new Error(`the connection ended after ${done} of ${total} bytes`);
  } catch (error) {
    if (abort.signal.aborted) throw new Error(`nothing came for ${idleTimeoutMs} ms`, { cause: error });
    throw error;
  } finally {
    clearTimeout(idle);
  }
}

/** Where the response's body starts in the file: a server may ignore the range and send all. */
function startOf(response: Response, have: number): number {
  if (response.status !== 206) return 0;
  const start = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
  if (start === undefined || Number(start) !== have)
    throw new Refused(`the server answered the range ${response.headers.get('content-range')}, asked was ${have}-`);
  return have;
}

async function writeAll(
  file: Awaited<ReturnType<typeof open>>,
  chunk: Uint8Array,
  position: number,
  path: string,
): Promise<void> {
  for (let written = 0; written < chunk.length;) {
    const { bytesWritten } = await file
      .write(chunk, written, chunk.length - written, position + written)
      .catch(ioError(`Cannot write ${path}`));
    written += bytesWritten;
  }
}

async function check(options: DownloadOptions, part: string): Promise<void> {
  const hash = createHash('md5');
  for await (const chunk of createReadStream(part)) hash.update(chunk as Uint8Array);
  const md5 = hash.digest('hex');
  const bytes = await sizeOf(part);
  const wrongSize = options.bytes !== undefined && bytes !== options.bytes;
  if (!wrongSize && (options.md5 === undefined || md5 === options.md5)) return;
  await rm(part, { force: true });
  throw new TensorloomError(
    'BAD_DATA',
    `${options.url} is not the file expected: ${bytes} bytes, MD5 ${md5}; expected ${options.bytes ?? 'any number of'} bytes, MD5 ${options.md5 ?? 'any'}. It was deleted. ${options.advice ?? ''}`.trim(),
  );
}

/** A handler of rejections: throws them as the file system's, which no further attempt would help. */
function ioError(what: string): (error: unknown) => never {
  return (error) => {
    throw new TensorloomError('IO', `${what}: ${reasonOf(error)}`, { cause: error });
  };
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.size,
    () => 0,
  );
}
