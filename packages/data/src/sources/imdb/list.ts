/** The names of IMDB's labelled reviews alone. */
import { stat } from 'node:fs/promises';
import { TensorloomError } from '@tensorloom/core';
import { readImdbArchive } from './archive.ts';
import { findImdbFolder, readImdbFolder } from './folder.ts';
import { reasonOf } from '../../files/reason.ts';

/**
 * Paths of the labelled reviews in an archive or an unpacked folder: `train/pos/0_9.txt`.
 * @throws TensorloomError `BAD_FILE` or `BAD_DATA` naming the path
 */
export async function listImdbReviews(path: string): Promise<string[]> {
  const found = await stat(path).catch((error: unknown) => {
    throw new TensorloomError(
      'BAD_FILE',
      `Cannot read ${path}: ${reasonOf(error)}. Expected aclImdb_v1.tar.gz or its unpacked folder.`,
      { cause: error },
    );
  });
  const reviews = found.isDirectory() ? await readImdbFolder(await findImdbFolder(path)) : await readImdbArchive(path);
  return [...reviews.keys()];
}
