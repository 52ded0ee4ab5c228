/** The `imdb` data set: 50,000 labelled film reviews (Maas et al., ACL 2011), from a tarball, its unpacked folder, or a download. */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { TensorloomError, UnknownNameError } from '@tensorloom/core';
import { defaultCacheDir } from '../../files/cache-folder.ts';
import { downloadFile } from '../../files/download.ts';
import type { TextSource, TextSourceOptions, TextSplit, TextSplits } from '../text-splits.ts';
import { readImdbArchive } from './archive.ts';
import { findImdbFolder, fingerprintImdbFolder, readImdbFolder } from './folder.ts';
import { blogPartition, standardPartition } from './splits.ts';
import { reasonOf } from '../../files/reason.ts';

/** Stanford's file, as published. A file of the user's own (`dataPath`) may be packed differently and is not held to it. */
export const IMDB_DOWNLOAD = {
  url: 'https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz',
  bytes: 84_125_825,
  md5: '7c2ac02c03563afcf9b574c7e56c153a',
} as const;

const SPLITS = ['blog', 'standard'];

/**
 * Finds (or downloads) the reviews. Labels: 0 negative, 1 positive. `split`: `blog` (default; 35,000 / 5,000 / 10,000) or `standard`.
 * @throws TensorloomError `BAD_FILE`, `BAD_DATA`, `OFFLINE`; UnknownNameError for another split
 */
export async function openImdb(options: TextSourceOptions = {}): Promise<TextSource> {
  const split = options.split ?? 'blog';
  if (!SPLITS.includes(split)) throw new UnknownNameError('split of imdb', split, SPLITS);
  const path = resolve(options.dataPath ?? (await download(options)));
  const found = await stat(path).catch((error: unknown) => {
    throw new TensorloomError(
      'BAD_FILE',
      `Cannot read ${path}: ${reasonOf(error)}. Expected aclImdb_v1.tar.gz or its unpacked folder.`,
      { cause: error },
    );
  });
  const folder = found.isDirectory() ? await findImdbFolder(path) : undefined;
  const content = folder === undefined ? `${found.size}:${found.mtimeMs}` : fingerprintImdbFolder(folder);
  const seed = options.seed ?? 0;
  return {
    name: 'imdb',
    fingerprint: `imdb:${split}:${split === 'blog' ? '' : seed}:${path}:${content}`,
    read: async () => {
      const reviews = folder === undefined ? await readImdbArchive(path, options.notify) : await readImdbFolder(folder);
      if (reviews.size === 0)
        throw new TensorloomError(
          'BAD_DATA',
          `${path} holds no reviews: expected files such as aclImdb/train/pos/0_9.txt in it.`,
        );
      return toSplits(
        reviews,
        split === 'blog' ? blogPartition(reviews.keys()) : standardPartition(reviews.keys(), seed),
      );
    },
  };
}

function toSplits(
  reviews: ReadonlyMap<string, string>,
  partition: { train: string[]; validation: string[]; test: string[] },
): TextSplits {
  const part = (files: readonly string[]): TextSplit => ({
    texts: files.map((file) => reviews.get(file) as string),
    labels: Int32Array.from(files, (file) => (file.includes('/pos/') ? 1 : 0)),
  });
  return {
    name: 'imdb',
    labelNames: ['negative', 'positive'],
    task: 'classification',
    train: part(partition.train),
    validation: part(partition.validation),
    test: part(partition.test),
  };
}

async function download(options: TextSourceOptions): Promise<string> {
  const path = join(options.cacheDir ?? defaultCacheDir(), 'downloads', 'aclImdb_v1.tar.gz');
  await downloadFile({
    ...(options.download ?? IMDB_DOWNLOAD),
    path,
    advice: `Or fetch aclImdb_v1.tar.gz on another machine and give it with --data-path=FILE.`,
    ...(options.onDownloadProgress === undefined ? {} : { onProgress: options.onDownloadProgress }),
  });
  return path;
}
