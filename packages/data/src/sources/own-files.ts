/** The data sets `jsonl` and `csv`: the user's own files, one for all parts or one for each. */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { TensorloomError } from '@tensorloom/core';
import { partitionStratified, toSplit, withoutDuplicates, type LabelledText } from './partition.ts';
import { badRow, type FieldNames, type Row, type RowReader } from './rows.ts';
import type { TextSource, TextSourceOptions, TextSplits } from './text-splits.ts';
import { reasonOf } from '../files/reason.ts';

interface SplitFiles {
  readonly train: string;
  readonly validation?: string | undefined;
  readonly test?: string | undefined;
}

/** File names that a part may have in a folder, without the ending. */
const NAMES = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'val', 'dev'],
  test: ['test'],
} as const;

/** A fraction of the training rows becomes each part that has no file of its own. */
const DRAWN_FRACTION = 0.1;

/** An opener for files of one format. @param endings file name endings, with the dot */
export function ownFilesOpener(
  name: string,
  endings: readonly string[],
  read: RowReader,
): (options: TextSourceOptions) => Promise<TextSource> {
  return async (options) => {
    const files = await findFiles(name, endings, options);
    const fields: FieldNames = { text: options.textField ?? 'text', label: options.labelField ?? 'label' };
    const task = options.task ?? 'classification';
    const seed = options.seed ?? 0;
    const paths = [files.train, files.validation, files.test];
    const stamps = await Promise.all(paths.map(async (path) => [path ?? '', await stamp(path)]));
    return {
      name,
      fingerprint: `${name}:${JSON.stringify([stamps, fields, task, seed])}`,
      read: async () => {
        const rows = async (path: string | undefined): Promise<Row[] | undefined> =>
          path === undefined ? undefined : readRows(path, fields, read);
        const train = (await rows(files.train)) as Row[];
        return toSplits(name, train, await rows(files.validation), await rows(files.test), task, seed, options.notify);
      },
    };
  };
}

function toSplits(
  name: string,
  train: readonly Row[],
  validation: readonly Row[] | undefined,
  test: readonly Row[] | undefined,
  task: 'classification' | 'regression',
  seed: number,
  notify: (message: string) => void = () => {},
): TextSplits {
  const labelNames = task === 'classification' ? namesOf(train) : [];
  if (labelNames.length === 1)
    throw new TensorloomError(
      'BAD_DATA',
      `${train[0]?.file}: every row has the label '${labelNames[0]}'; classification needs two or more.`,
    );
  const labelled = (rows: readonly Row[]): LabelledText[] =>
    rows.map((row) => ({ text: row.text, label: labelOf(row, labelNames, task) }));
  const all = labelled(train);
  // Only where parts are drawn can a text land in two of them.
  const isDrawn = validation === undefined || test === undefined;
  const kept = isDrawn ? withoutDuplicates(all) : all;
  if (kept.length < all.length)
    notify(`${name}: left out ${all.length - kept.length} repeated texts, so that none is in two parts.`);
  const fractions = [
    1,
    validation === undefined ? DRAWN_FRACTION : 0,
    test === undefined ? DRAWN_FRACTION : 0,
  ] as const;
  const parts = isDrawn
    ? partitionStratified(kept, fractions, seed, task)
    : { train: toSplit(kept, task), validation: toSplit([]), test: toSplit([]) };
  const splits = {
    train: parts.train,
    validation: validation === undefined ? parts.validation : toSplit(labelled(validation), task),
    test: test === undefined ? parts.test : toSplit(labelled(test), task),
  };
  for (const [part, { texts }] of Object.entries(splits))
    if (texts.length === 0)
      throw new TensorloomError(
        'BAD_DATA',
        `${train[0]?.file}: ${train.length} rows are too few to draw the ${part} part from; give more rows, or a file for each part.`,
      );
  return { name, labelNames, task, ...splits };
}

/** The label names in order: by value where all are whole numbers, else by name. */
function namesOf(rows: readonly Row[]): string[] {
  const names = [...new Set(rows.map(({ label }) => label))];
  return names.every((name) => /^-?\d+$/.test(name)) ? names.sort((a, b) => Number(a) - Number(b)) : names.sort();
}

function labelOf(row: Row, labelNames: readonly string[], task: 'classification' | 'regression'): number {
  if (task === 'regression') {
    const value = Number(row.label);
    if (row.label.trim() === '' || !Number.isFinite(value))
      throw badRow(row.file, row.line, `the label '${row.label}' is no number, as a regression needs.`);
    return value;
  }
  const index = labelNames.indexOf(row.label);
  if (index === -1)
    throw badRow(
      row.file,
      row.line,
      `the label '${row.label}' does not occur in the training part, which has ${summary(labelNames)}.`,
    );
  return index;
}

function summary(names: readonly string[]): string {
  return names.length <= 10 ? names.join(', ') : `${names.slice(0, 10).join(', ')} and ${names.length - 10} more`;
}

async function readRows(path: string, fields: FieldNames, read: RowReader): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of read(path, fields)) rows.push(row);
  if (rows.length === 0)
    throw new TensorloomError(
      'BAD_DATA',
      `${path} is empty: no row with fields '${fields.text}' and '${fields.label}'.`,
    );
  return rows;
}

async function findFiles(name: string, endings: readonly string[], options: TextSourceOptions): Promise<SplitFiles> {
  if (options.splitPaths !== undefined) {
    if (options.dataPath !== undefined)
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        `${name}: both dataPath and splitPaths say where the data are; give one of them.`,
      );
    return Object.fromEntries(
      Object.entries(options.splitPaths).map(([part, path]) => [part, resolve(path)]),
    ) as unknown as SplitFiles;
  }
  if (options.dataPath === undefined)
    throw new TensorloomError(
      'BAD_OPTION',
      `The data set '${name}' needs --data-path: a file, or a folder with train${endings[0]} and, if you have them, validation${endings[0]} and test${endings[0]}.`,
    );
  const path = resolve(options.dataPath);
  const found = await statOf(path);
  if (!found.isDirectory()) return { train: path };
  const names = await readdir(path);
  const find = (part: keyof typeof NAMES): string | undefined => {
    const match = NAMES[part]
      .flatMap((stem) => endings.map((ending) => stem + ending))
      .find((file) => names.includes(file));
    return match === undefined ? undefined : join(path, match);
  };
  const train = find('train');
  if (train === undefined)
    throw new TensorloomError(
      'BAD_DATA',
      `${path} has no train${endings.join(` or train`)}; it has ${summary(names.sort()) || 'no files'}.`,
    );
  return { train, validation: find('validation'), test: find('test') };
}

async function stamp(path: string | undefined): Promise<string> {
  if (path === undefined) return '';
  const { size, mtimeMs } = await statOf(path);
  return `${size}:${mtimeMs}`;
}

async function statOf(path: string): ReturnType<typeof stat> {
  return stat(path).catch((error: unknown) => {
    throw new TensorloomError('BAD_FILE', `Cannot read ${path}: ${reasonOf(error)}`, { cause: error });
  });
}
