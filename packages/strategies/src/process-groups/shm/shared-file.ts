/** The file in /dev/shm that the ranks of one group map: made by its first rank, found by the others, gone as soon as all have it. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, openSync, readSync, statfsSync, unlinkSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TensorloomError } from '@tensorloom/core/distributed';
import { SegmentLayout, type SegmentSizes } from '../slots/layout.ts';
import { lookAround } from '../while-blocked.ts';
import { mapFile, reserve, type Mapping } from './libc.ts';
import { namespace, startOf } from './liveness.ts';

const FOLDER = '/dev/shm';
const MAGIC = 0x544c5347;
const POLL_MS = 5;
/** Int32 words of the header. The digest of the token is 8 of them. */
const WORD = {
  magic: 0,
  worldSize: 1,
  slotBytes: 2,
  mailBytes: 3,
  pid: 4,
  startLow: 5,
  startHigh: 6,
  namespace: 7,
  digest: 16,
} as const;
const HEADER_BYTES = 128;

export interface SharedFileRequest {
  readonly jobId: string;
  /** Of the group within the job. */
  readonly id: string;
  readonly token: string | undefined;
  readonly rank: number;
  readonly sizes: SegmentSizes;
  readonly timeoutMs: number;
}

/** Where the file of a group is. */
export function sharedFilePath(jobId: string, id: string): string {
  const safe = `${jobId}${id}`.replaceAll(/[^\w.-]/g, '_').slice(0, 100);
  const hash = createHash('sha256').update(`${jobId}\n${id}`).digest('hex').slice(0, 12);
  return path.join(FOLDER, `tensorloom-${userInfo().uid}-${safe}-${hash}`);
}

/** Makes the file (rank 0) or waits for it. @throws TensorloomError `IO`, `UNSUPPORTED`, `TIMEOUT`, `RANK_LOST` */
export async function openShared(
  request: SharedFileRequest,
): Promise<{ readonly mapping: Mapping; readonly path: string }> {
  const file = sharedFilePath(request.jobId, request.id);
  const mapping = request.rank === 0 ? make(file, request) : await find(file, request);
  return { mapping, path: file };
}

/** Removes the name; who has mapped the file keeps it. */
export function removeShared(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function make(file: string, request: SharedFileRequest): Mapping {
  const bytes = new SegmentLayout(request.sizes).totalBytes;
  removeIfDead(file, request.jobId);
  checkRoom(bytes, request.sizes.worldSize);
  const descriptor = openSync(
    file,
    constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    reserve(descriptor, bytes);
    const mapping = mapFile(descriptor, bytes);
    const words = new Int32Array(mapping.buffer, 0, HEADER_BYTES / 4);
    const start = startOf(process.pid)?.start ?? 0;
    words[WORD.worldSize] = request.sizes.worldSize;
    words[WORD.slotBytes] = request.sizes.slotBytes;
    words[WORD.mailBytes] = request.sizes.mailBytes;
    words[WORD.pid] = process.pid;
    words[WORD.startLow] = start | 0;
    words[WORD.startHigh] = Math.floor(start / 2 ** 32);
    words[WORD.namespace] = namespace();
    new Uint8Array(mapping.buffer, WORD.digest * 4, 32).set(digest(request));
    // Last: whoever sees it sees the rest.
    Atomics.store(words, WORD.magic, MAGIC);
    return mapping;
  } catch (error) {
    removeShared(file);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

async function find(file: string, request: SharedFileRequest): Promise<Mapping> {
  const started = performance.now();
  for (;;) {
    const mapping = tryFind(file, request);
    if (mapping !== undefined) return mapping;
    if (performance.now() - started > request.timeoutMs)
      throw new TensorloomError(
        'TIMEOUT',
        `Rank 0 did not make its shared memory (${file}) within ${request.timeoutMs / 1000} s; rank ${request.rank} waited. ` +
          'Are all ranks of this host started, with the same job id?',
      );
    lookAround();
    await sleep(POLL_MS);
  }
}

function tryFind(file: string, request: SharedFileRequest): Mapping | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(file, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new TensorloomError('IO', `Shared memory ${file} cannot be opened: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  try {
    const header = readHeader(descriptor);
    // Not finished yet, or left by a job that died: rank 0 of this one replaces it.
    if (header === undefined || header[WORD.magic] !== MAGIC || isDead(header)) return undefined;
    if (!timingSafeEqual(new Uint8Array(header.buffer, WORD.digest * 4, 32), digest(request)))
      throw new TensorloomError(
        'UNSUPPORTED',
        `Shared memory ${file} belongs to a job with another token. Jobs on one host need job ids of their own.`,
      );
    const { sizes } = request;
    if (
      header[WORD.worldSize] !== sizes.worldSize ||
      header[WORD.slotBytes] !== sizes.slotBytes ||
      header[WORD.mailBytes] !== sizes.mailBytes
    )
      throw new TensorloomError(
        'UNSUPPORTED',
        `Shared memory ${file} was made for ${header[WORD.worldSize]} ranks; rank ${request.rank} was told there are ${sizes.worldSize}. All ranks of a host must be started alike.`,
      );
    return mapFile(descriptor, new SegmentLayout(sizes).totalBytes);
  } finally {
    closeSync(descriptor);
  }
}

function readHeader(descriptor: number): Int32Array<ArrayBuffer> | undefined {
  if (fstatSync(descriptor).size < HEADER_BYTES) return undefined;
  const header = new Int32Array(HEADER_BYTES / 4);
  readSync(descriptor, new Uint8Array(header.buffer), 0, HEADER_BYTES, 0);
  return header;
}

function isDead(header: Int32Array): boolean {
  if (header[WORD.namespace] !== namespace()) return false;
  const found = startOf(header[WORD.pid] as number);
  const start = ((header[WORD.startLow] as number) >>> 0) + (header[WORD.startHigh] as number) * 2 ** 32;
  return found === undefined || found.start !== start || found.isGone;
}

/** A file of this name can only be left by a job that was killed while it started, or belong to one that is starting now. */
function removeIfDead(file: string, jobId: string): void {
  if (!existsSync(file)) return;
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  let header;
  try {
    header = readHeader(descriptor);
  } finally {
    closeSync(descriptor);
  }
  if (header !== undefined && header[WORD.magic] === MAGIC && !isDead(header))
    throw new TensorloomError(
      'UNSUPPORTED',
      `Process ${header[WORD.pid]} is starting a job with the id '${jobId}' on this host. Give each job an id of its own.`,
    );
  removeShared(file);
}

function checkRoom(bytes: number, worldSize: number): void {
  const { bavail, bsize } = statfsSync(FOLDER);
  if (bavail * bsize >= bytes) return;
  const mib = (count: number): string => `${Math.ceil(count / 2 ** 20)} MiB`;
  throw new TensorloomError(
    'UNSUPPORTED',
    `${FOLDER} has ${mib(bavail * bsize)} left; shared memory for ${worldSize} ranks takes ${mib(bytes)}. ` +
      "Make it larger (docker run --shm-size=1g; in Kubernetes an emptyDir of medium Memory at /dev/shm), or use the process group 'ws'.",
  );
}

function digest({ token, jobId, id }: SharedFileRequest): Uint8Array {
  return createHash('sha256')
    .update(`${jobId}\n${id}\n${token ?? ''}`)
    .digest();
}
