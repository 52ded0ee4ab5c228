/** Finding the reference cases of a folder and reading them. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { TensorloomError } from '@tensorloom/core';
import { badCase, parseWith } from './case-error.ts';
import { encodingsSchema, partitionSchema, type PartitionJson } from './case-schema.ts';
import { readModelCase, type ModelCase } from './model-case.ts';
import { readTrainRunCase, type TrainRunCase } from './train-run-case.ts';

/** Rows of text, ids and decoded text of a tokenizer. */
export interface TokenizerCase {
  readonly kind: 'tokenizer';
  readonly name: string;
  readonly tokenizerFile: string;
  readonly rows: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly decoded?: string | undefined;
  }[];
}

/** Digests of the partition of IMDB. */
export interface PartitionCase {
  readonly kind: 'partition';
  readonly name: string;
  readonly json: PartitionJson;
}

export type ReferenceCase = ModelCase | TrainRunCase | TokenizerCase | PartitionCase;

/**
 * Reads every case in `folder` and the folders below it, in the order of their names. JSON files that are no cases
 * (no tensors of the same name beside them, none of the format's keys in them) are left alone.
 * @throws TensorloomError `BAD_FILE` if there is no case, or one is malformed: then nothing stays open
 */
export function readReferenceFolder(folder: string): ReferenceCase[] {
  const cases: ReferenceCase[] = [];
  try {
    const files = listFiles(folder);
    const known = new Set(files);
    for (const file of files) {
      const stem = file.replace(/\.(json|safetensors)$/, '');
      if (file.endsWith('.safetensors')) {
        if (!known.has(`${stem}.json`))
          throw badCase(file, '(file)', `there is no ${stem}.json beside it, which would say what it holds`);
      } else if (file.endsWith('.json')) {
        const found = readCase(relative(folder, stem), file, `${stem}.safetensors`, known);
        if (found !== undefined) cases.push(found);
      }
    }
    if (cases.length === 0)
      throw new TensorloomError(
        'BAD_FILE',
        `${folder}: no reference case in this folder; a case is NAME.json with NAME.safetensors, or tokenizer.json with encodings.json.`,
      );
    return cases;
  } catch (error) {
    closeCases(cases);
    throw error;
  }
}

/** Closes the files of cases that were read. */
export function closeCases(cases: readonly ReferenceCase[]): void {
  for (const each of cases) if (each.kind === 'model' || each.kind === 'train-run') each.tensors.close();
}

function readCase(
  name: string,
  file: string,
  tensorsFile: string,
  known: ReadonlySet<string>,
): ReferenceCase | undefined {
  const folder = join(file, '..');
  if (file === join(folder, 'tokenizer.json')) {
    if (known.has(join(folder, 'encodings.json'))) return undefined; // read with encodings.json
    throw badCase(
      join(folder, 'encodings.json'),
      '(file)',
      `missing beside ${file}: the rows that its encodings are compared with`,
    );
  }
  const value = readJson(file);
  if (file === join(folder, 'encodings.json')) return readTokenizerCase(name, file, value, known);
  const keys = new Set(value !== null && typeof value === 'object' ? Object.keys(value) : []);
  const digest = value !== null && typeof value === 'object' && 'train' in value && typeof value.train === 'object';
  if (digest && keys.has('validation') && keys.has('test'))
    return { kind: 'partition', name, json: parseWith(file, partitionSchema, value) };
  const hasTensors = known.has(tensorsFile);
  const looksLikeCase =
    keys.has('config') && ['scalars', 'losses', 'optimizers', 'micro_batches'].some((key) => keys.has(key));
  if (!hasTensors && !looksLikeCase) return undefined;
  if (!hasTensors) throw badCase(tensorsFile, '(file)', `missing: ${file} is a case and needs its tensors`);
  return keys.has('losses') || keys.has('accumulate')
    ? readTrainRunCase(name, file, value, tensorsFile)
    : readModelCase(name, file, value, tensorsFile);
}

function readTokenizerCase(name: string, file: string, value: unknown, known: ReadonlySet<string>): TokenizerCase {
  const tokenizerFile = join(file, '..', 'tokenizer.json');
  if (!known.has(tokenizerFile)) throw badCase(tokenizerFile, '(file)', `missing beside ${file}`);
  const { rows } = parseWith(file, encodingsSchema, value);
  return { kind: 'tokenizer', name: name.replace(/[/\\]?encodings$/, '') || 'tokenizer', tokenizerFile, rows };
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw badCase(file, '(file)', `not JSON: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

/** All files below `folder`, sorted; hidden ones and node_modules are left out, links to folders are not followed. */
function listFiles(folder: string): string[] {
  let entries;
  try {
    if (!statSync(folder).isDirectory())
      throw new TensorloomError('BAD_FILE', `${folder}: not a folder; --reference takes a folder of reference cases.`);
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (error instanceof TensorloomError) throw error;
    throw new TensorloomError('BAD_FILE', `${folder}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const shown = entries.filter((entry) => !entry.name.startsWith('.') && entry.name !== 'node_modules');
  return shown
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? listFiles(join(folder, entry.name)) : [join(folder, entry.name)]));
}
