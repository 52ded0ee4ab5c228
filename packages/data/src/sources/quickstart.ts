/** The `quickstart` data set: 3,000 labelled sentences of IMDB, Amazon and Yelp reviews (Kotzias et al., KDD 2015), carried by the npm package `sentiment`. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { TensorloomError } from '@tensorloom/core';
import { partitionStratified, withoutDuplicates, type LabelledText } from './partition.ts';
import type { TextSource, TextSourceOptions, TextSplits } from './text-splits.ts';
import { reasonOf } from '../files/reason.ts';

const FILES = ['amazon.json', 'imdb.json', 'yelp.json'];
const SEED = 2015;

/** 80/10/10, stratified by label; a sentence that occurs twice is kept once, so that none is in two splits. Labels: 0 negative, 1 positive. */
export async function openQuickstart(options: TextSourceOptions = {}): Promise<TextSource> {
  const folder = fixturesFolder();
  const contents = await Promise.all(FILES.map((file) => readFixture(join(folder, file))));
  const seed = options.seed ?? SEED;
  const sha256 = createHash('sha256').update(contents.join('\n')).digest('hex');
  return {
    name: 'quickstart',
    fingerprint: `quickstart:${seed}:${sha256}`,
    read: async () => split(contents, folder, seed),
  };
}

function split(contents: readonly string[], folder: string, seed: number): TextSplits {
  const examples = contents.flatMap((json, i) => parse(json, join(folder, FILES[i] as string)));
  const parts = partitionStratified(withoutDuplicates(examples), [0.8, 0.1, 0.1], seed);
  return { name: 'quickstart', labelNames: ['negative', 'positive'], task: 'classification', ...parts };
}

function parse(json: string, path: string): LabelledText[] {
  const rows: unknown = JSON.parse(json);
  if (!Array.isArray(rows))
    throw new TensorloomError('BAD_DATA', `${path}: expected a list of sentences; reinstall the package 'sentiment'.`);
  // Each file ends with an entry without text or label.
  const sentences = rows.filter((row: { text?: unknown; class?: unknown }) => row.text !== '' || row.class !== null);
  return sentences.map((row: { text?: unknown; class?: unknown }, i) => {
    if (typeof row.text !== 'string' || (row.class !== 0 && row.class !== 1))
      throw new TensorloomError(
        'BAD_DATA',
        `${path}: entry ${i} has no text or no class 0 or 1; reinstall the package 'sentiment'.`,
      );
    return { text: row.text.trim(), label: row.class };
  });
}

function fixturesFolder(): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('sentiment/package.json')), 'test', 'fixtures');
  } catch (error) {
    throw new TensorloomError(
      'BAD_DATA',
      "The data set 'quickstart' is read from the npm package 'sentiment', which is not installed: run npm ci.",
      {
        cause: error,
      },
    );
  }
}

async function readFixture(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new TensorloomError(
      'BAD_DATA',
      `Cannot read ${path}: ${reasonOf(error)}. Reinstall the npm package 'sentiment' 5.0.2.`,
      { cause: error },
    );
  }
}
