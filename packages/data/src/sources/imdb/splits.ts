/** Which review goes to which part: the blog's partition and the data set's own. */
import { TensorloomError } from '@tensorloom/core';
import { legacyPermutation } from '../../random/numpy-legacy.ts';
import { range, seededGenerator, shuffle } from '../../random/seeded.ts';

/** Paths of the reviews of each part, in order. */
export interface ImdbPartition {
  readonly train: string[];
  readonly validation: string[];
  readonly test: string[];
}

const BLOG_PARTS = ['test/pos', 'test/neg', 'train/pos', 'train/neg'];

/**
 * The partition of "Finetuning LLMs on a single GPU using gradient accumulation" (Raschka 2023), 35,000 / 5,000 / 10,000: files listed
 * test/pos, test/neg, train/pos, train/neg, each sorted by name as bytes; NumPy's permutation of seed 0; pandas' sample of seed 1; cut.
 * @param files the paths of all 50,000 labelled reviews, in any order
 * @throws TensorloomError `BAD_DATA` unless each part has its 12,500 reviews
 */
export function blogPartition(files: Iterable<string>): ImdbPartition {
  const byPart = new Map<string, string[]>(BLOG_PARTS.map((part) => [part, []]));
  for (const file of files) byPart.get(file.slice(0, file.lastIndexOf('/')))?.push(file);
  const counts = [...byPart].map(([part, members]) => `${part} ${members.length}`);
  if ([...byPart.values()].some((members) => members.length !== 12_500))
    throw new TensorloomError(
      'BAD_DATA',
      `The blog's partition needs the 50,000 labelled reviews of aclImdb, 12,500 in each part; found ${counts.join(', ')}. Fetch the archive again, or use --split=standard.`,
    );
  // The names are ASCII, where the order of JavaScript's sort is that of bytes.
  const listed = [...byPart.values()].flatMap((members) => members.sort());
  const first = legacyPermutation(0, listed.length);
  const second = legacyPermutation(1, listed.length);
  const order = Array.from(second, (i) => listed[first[i] as number] as string);
  return { train: order.slice(0, 35_000), validation: order.slice(35_000, 40_000), test: order.slice(40_000) };
}

/** The data set's own test part; a tenth of its training part, drawn by `seed`, validates. */
export function standardPartition(files: Iterable<string>, seed: number): ImdbPartition {
  const sorted = [...files].sort();
  const training = sorted.filter((file) => file.startsWith('train/'));
  const order = Array.from(shuffle(range(training.length), seededGenerator(seed)), (i) => training[i] as string);
  const validationCount = Math.floor(training.length / 10);
  const test = sorted.filter((file) => file.startsWith('test/'));
  if (order.length - validationCount < 1 || test.length < 1)
    throw new TensorloomError(
      'BAD_DATA',
      `aclImdb: found ${training.length} labelled training and ${test.length} test reviews; expected some of both (25,000 each in the original).`,
    );
  return { train: order.slice(validationCount), validation: order.slice(0, validationCount), test };
}
