/** Reads the reviews of aclImdb from its unpacked folder. */
import { readdirSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { TensorloomError } from '@tensorloom/core';
import { reasonOf } from '../../files/reason.ts';

const PARTS = ['test/pos', 'test/neg', 'train/pos', 'train/neg'];

/**
 * The folder that holds `train` and `test`: `path` itself or `path/aclImdb`.
 * @throws TensorloomError `BAD_DATA`
 */
export async function findImdbFolder(path: string): Promise<string> {
  for (const candidate of [path, join(path, 'aclImdb')]) {
    const found = await Promise.all(PARTS.map((part) => isFolder(join(candidate, part))));
    if (found.every(Boolean)) return candidate;
  }
  throw new TensorloomError(
    'BAD_DATA',
    `${path} is no unpacked aclImdb: expected the folders ${PARTS.join(', ')} in it or in ${join(path, 'aclImdb')}.`,
  );
}

/** SHA-256 over name, size and time of change of every labelled review: notices any change without reading the 50,000 files. */
export function fingerprintImdbFolder(folder: string): string {
  const hash = createHash('sha256');
  for (const file of listReviews(folder)) {
    const { size, mtimeMs } = statSync(join(folder, file));
    hash.update(`${file}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** The labelled reviews, by their path below `folder`. @throws TensorloomError `BAD_DATA` if one cannot be read */
export async function readImdbFolder(folder: string): Promise<Map<string, string>> {
  const files = listReviews(folder);
  const texts = new Array<string>(files.length);
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < files.length; i = next++) {
      const path = join(folder, files[i] as string);
      texts[i] = await readFile(path, 'utf8').catch((error: unknown) => {
        throw new TensorloomError('BAD_DATA', `Cannot read ${path}: ${reasonOf(error)}`, { cause: error });
      });
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  return new Map(files.map((file, i) => [file, texts[i] as string]));
}

function listReviews(folder: string): string[] {
  return PARTS.flatMap((part) =>
    readdirSync(join(folder, part))
      .filter((name) => name.endsWith('.txt'))
      .sort()
      .map((name) => `${part}/${name}`),
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
