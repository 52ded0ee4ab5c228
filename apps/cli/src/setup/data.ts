/** From the options to tokenized data: finds the data set, the tokenizer that goes with the model, and the cached ids. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  bloomTokenizerFor,
  openTextSource,
  prepareTextData,
  Tokenizer,
  type TextClassificationData,
  type TextSource,
  type TokenizedSplit,
} from '@tensorloom/data';
import { TensorloomError, writeFileAtomically } from '@tensorloom/core';
import type { RunConfig } from '../config/schema.ts';
import type { Progress } from '../run/progress.ts';

export type DataOptions = Pick<RunConfig, 'data' | 'split' | 'textField' | 'labelField' | 'seed'> &
  Pick<Partial<RunConfig>, 'dataPath'>;

/** Finds the data set, downloading it where it must be. */
export async function openSource(options: DataOptions, progress: Progress): Promise<TextSource> {
  const ownFile = options.data === 'jsonl' || options.data === 'csv';
  return openTextSource(options.data, {
    ...(options.dataPath === undefined ? {} : { dataPath: options.dataPath }),
    ...(options.data === 'imdb' ? { split: options.split } : {}),
    // The partition of a built-in data set is always the same, whatever the seed of the run.
    ...(ownFile ? { textField: options.textField, labelField: options.labelField } : {}),
    onDownloadProgress: (done, total) => progress.counting('download, bytes', done, total),
    notify: (message) => progress.line(message),
  });
}

export interface ChosenTokenizer {
  readonly tokenizer: Tokenizer;
  /** Folder with its files, where it came from one. */
  readonly folder: string | undefined;
  /** Where it came from, for the user. */
  readonly origin: string;
}

/**
 * The tokenizer that was asked for, else the one beside the model's weights, else one trained on the training part.
 * @throws TensorloomError `BAD_OPTION`, `BAD_FILE`
 */
export async function chooseTokenizer(
  asked: { readonly tokenizer?: string | undefined; readonly vocabularySize?: number | undefined },
  modelFolder: string | undefined,
  source: TextSource,
  progress: Progress,
): Promise<ChosenTokenizer> {
  const from = asked.tokenizer ?? modelFolder;
  if (from !== undefined) return readTokenizer(from);
  const vocabSize = asked.vocabularySize ?? 8192;
  const tokenizer = await bloomTokenizerFor(source, { vocabSize, notify: (message) => progress.line(message) });
  return {
    tokenizer,
    folder: undefined,
    origin: `trained on the training part of ${source.name}, ${tokenizer.vocabSize} entries`,
  };
}

/** @param path a tokenizer.json, or a folder with one */
export async function readTokenizer(path: string): Promise<ChosenTokenizer> {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isFolder ? join(path, 'tokenizer.json') : path;
  if (!existsSync(file))
    throw new TensorloomError(
      'BAD_OPTION',
      `No tokenizer at ${path}: expected a tokenizer.json or a folder with one. Give --tokenizer.`,
    );
  return { tokenizer: await Tokenizer.fromFile(file), folder: dirname(file), origin: file };
}

/** Writes tokenizer.json into `folder`, with the tokenizer's other files where it came with any. */
export async function saveTokenizer(chosen: ChosenTokenizer, folder: string): Promise<void> {
  await chosen.tokenizer.save(join(folder, 'tokenizer.json'));
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
    const path = chosen.folder === undefined ? undefined : join(chosen.folder, name);
    if (path !== undefined && existsSync(path))
      await writeFileAtomically(join(folder, name), readFileSync(path, 'utf8'));
  }
}

/**
 * Which side the tokenizer pads on by its own tokenizer_config.json; `right` where it does not say.
 * @throws TensorloomError `BAD_FILE` if that is not JSON
 */
export function paddingSideOf(folder: string): 'left' | 'right' {
  const path = join(folder, 'tokenizer_config.json');
  if (!existsSync(path)) return 'right';
  let content: { readonly padding_side?: unknown } | null;
  try {
    content = JSON.parse(readFileSync(path, 'utf8')) as typeof content;
  } catch (error) {
    throw new TensorloomError('BAD_FILE', `${path} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  return content?.padding_side === 'left' ? 'left' : 'right';
}

export async function tokenizeSource(
  source: TextSource,
  tokenizer: Tokenizer,
  maxLength: number,
  progress: Progress,
): Promise<TextClassificationData> {
  const data = await prepareTextData({
    source,
    tokenizer,
    maxLength,
    onProgress: (done, total) => progress.counting('tokenized texts', done, total),
    notify: (message) => progress.line(message),
  });
  progress.stop();
  return data;
}

/** SHA-256 over ids, lengths and labels: tells whether a run is resumed on the data it started with. */
export function digestOf(split: TokenizedSplit): string {
  const hash = createHash('sha256');
  for (const part of [split.ids, split.offsets, split.labels])
    hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  return hash.digest('hex');
}
