/** Reads the reviews of aclImdb from its tarball, as a stream, into memory. Nothing of the archive is ever written to disk. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { TensorloomError } from '@tensorloom/core';
import { reasonOf } from '../../files/reason.ts';

/** A labelled review file: `train/pos/0_9.txt`. */
export const REVIEW_PATH = /^(?:train|test)\/(?:pos|neg)\/[^/\\]+\.txt$/;

const MAX_REVIEW_BYTES = 1 << 20;

/**
 * The labelled reviews, by their path below `aclImdb/` (or below the root of the archive). Entries that are no plain files, or whose
 * path is absolute or climbs (`..`), are left out and counted in one note.
 * @throws TensorloomError `BAD_FILE` if it is no tar archive, `BAD_DATA` if it is truncated or damaged, both naming the file
 */
export async function readImdbArchive(
  path: string,
  notify: (message: string) => void = () => {},
): Promise<Map<string, string>> {
  const reviews = new Map<string, string>();
  const decompress = (await isGzip(path)) ? [createGunzip({ chunkSize: 1 << 18 })] : [];
  const archive = extract();
  let refused = 0;
  const consume = async (): Promise<void> => {
    for await (const entry of archive) {
      const name = entry.header.name.replace(/^(?:\.\/)+/, '').replace(/^[^/\\.][^/\\]*\/(?=(?:train|test)\/)/, '');
      const isPlain = entry.header.type === 'file' || entry.header.type === 'contiguous-file';
      if (!isPlain && entry.header.type !== 'directory') refused++;
      else if (isUnsafe(entry.header.name)) refused++;
      else if (isPlain && REVIEW_PATH.test(name)) {
        if (entry.header.size > MAX_REVIEW_BYTES)
          throw new TensorloomError(
            'BAD_DATA',
            `${path}: the entry ${entry.header.name} has ${entry.header.size} bytes; no review is longer than ${MAX_REVIEW_BYTES}.`,
          );
        const chunks: Uint8Array[] = [];
        for await (const chunk of entry) chunks.push(chunk as Uint8Array);
        reviews.set(name, Buffer.concat(chunks).toString('utf8'));
        continue;
      }
      entry.resume();
    }
  };
  try {
    await Promise.all([
      pipeline([createReadStream(path, { highWaterMark: 1 << 20 }), ...decompress, archive]),
      consume(),
    ]);
  } catch (error) {
    if (error instanceof TensorloomError) throw error;
    throw new TensorloomError(
      'BAD_DATA',
      `${path} is truncated or damaged after ${reviews.size} reviews: ${reasonOf(error)}. Fetch it again, or give an intact aclImdb_v1.tar.gz.`,
      { cause: error },
    );
  }
  if (refused > 0) notify(`${path}: ignored ${refused} entries that are links or whose path leads out of the archive.`);
  return reviews;
}

function isUnsafe(name: string): boolean {
  return /^(?:[/\\]|[A-Za-z]:)/.test(name) || name.split(/[/\\]/).includes('..');
}

async function isGzip(path: string): Promise<boolean> {
  const head = Buffer.alloc(512);
  let bytesRead: number;
  try {
    const file = await open(path);
    try {
      ({ bytesRead } = await file.read(head, 0, 512, 0));
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new TensorloomError('BAD_FILE', `Cannot read ${path}: ${reasonOf(error)}`, { cause: error });
  }
  if (bytesRead >= 2 && head[0] === 0x1f && head[1] === 0x8b) return true;
  if (head.toString('latin1', 257, 262) === 'ustar') return false;
  throw new TensorloomError('BAD_FILE', `${path} is neither a .tar.gz nor a .tar archive; expected aclImdb_v1.tar.gz.`);
}
