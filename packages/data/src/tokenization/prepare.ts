/** From a data set and a tokenizer to packed ids, through the cache on disk: a second start reads one file. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '@tensorloom/core';
import { contentKey, defaultCacheDir } from '../files/cache-folder.ts';
import type { TextSource } from '../sources/text-splits.ts';
import { decodeTokenFile, encodeTokenFile } from './token-file.ts';
import { tokenizeSplits } from './tokenize-splits.ts';
import type { TextClassificationData } from './tokenized-split.ts';
import type { Tokenizer } from './tokenizer.ts';
import { reasonOf } from '../files/reason.ts';

/** Options of `prepareTextData`. */
export interface PrepareOptions {
  readonly source: TextSource;
  readonly tokenizer: Tokenizer;
  /** Keep only the first `maxLength` tokens of each text. */
  readonly maxLength: number;
  /** Default: `defaultCacheDir()`. `false` neither reads nor writes a cache. */
  readonly cacheDir?: string | false;
  /** Called while texts are tokenized; never, where the cache has them. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Told when a damaged cache file is made anew, or none can be written. */
  readonly notify?: (message: string) => void;
}

/**
 * The cache key is made of the source's fingerprint, the tokenizer's SHA-256 and `maxLength`. A damaged file is noticed by its checksum and
 * made anew. A cache that cannot be written costs time, not the run: `notify` is told.
 */
export async function prepareTextData(options: PrepareOptions): Promise<TextClassificationData> {
  const { source, tokenizer, maxLength, cacheDir = defaultCacheDir(), notify = () => {} } = options;
  const tokenize = async (): Promise<TextClassificationData> =>
    tokenizeSplits(await source.read(), tokenizer, {
      maxLength,
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    });
  if (cacheDir === false) return tokenize();
  const key = contentKey('tokens', source.fingerprint, tokenizer.hash, maxLength);
  const path = join(cacheDir, 'tokens', `${source.name}-${key}.bin`);
  const cached = await readCached(path, notify);
  if (cached !== undefined) return cached;
  const data = await tokenize();
  await writeFileAtomically(path, async (sink) => {
    for (const part of encodeTokenFile(data)) await sink(part);
  }).catch((error: unknown) =>
    notify(`The tokenized data set is not cached and will be made again next time. ${reasonOf(error)}`),
  );
  return data;
}

async function readCached(
  path: string,
  notify: (message: string) => void,
): Promise<TextClassificationData | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch {
    return undefined;
  }
  try {
    return decodeTokenFile(bytes);
  } catch (error) {
    notify(`The cache file ${path} is damaged (${reasonOf(error)}); it is made anew.`);
    await rm(path, { force: true }).catch(() => {});
    return undefined;
  }
}
