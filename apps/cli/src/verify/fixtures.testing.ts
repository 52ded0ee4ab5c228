/** For tests: folders with copies of reference cases, changed at will. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors, tf, writeSafetensors, type Tensor } from '@tensorloom/core';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
/** BLOOM cases made with PyTorch and transformers, kept by the package `models`. */
export const BLOOM_CASES = join(root, 'packages/models/fixtures/bloom');
/** A tokenizer with its encodings, and the partition of IMDB, kept by the package `data`. */
export const DATA_CASES = join(root, 'packages/data/src/fixtures');
/** Cases of other shapes and hyper-parameters, made by tools/goldens/make_bloom_cases.py. */
export const FURTHER_CASES = join(root, 'apps/cli/fixtures/further');
/** A whole fine-tuning run. */
export const TRAIN_RUN = join(root, 'apps/cli/fixtures/reference');

const made: string[] = [];

/** A new, empty folder. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tensorloom-verify-'));
  made.push(folder);
  return folder;
}

/** A new folder that holds copies of `cases` (names without extension) of `source`, in its folder `under`. */
export function copyCases(source: string, cases: readonly string[], under = '.'): string {
  const folder = newFolder();
  mkdirSync(join(folder, under), { recursive: true });
  for (const name of cases)
    for (const extension of ['json', 'safetensors'])
      copyFileSync(join(source, `${name}.${extension}`), join(folder, under, `${name}.${extension}`));
  return folder;
}

/** Removes all folders that were made. */
export function removeFolders(): void {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** The sections of a case's JSON. */
export type CaseJson = Record<string, Record<string, unknown>>;

/** Rewrites the JSON file of a case with what `edit` returns. */
export function editJson(file: string, edit: (json: CaseJson) => unknown): void {
  writeFileSync(file, JSON.stringify(edit(JSON.parse(readFileSync(file, 'utf8')) as CaseJson)));
}

/** Rewrites a safetensors file: `edit` changes, adds and removes tensors of the map. */
export async function editTensors(file: string, edit: (tensors: Map<string, Tensor>) => void): Promise<void> {
  const opened = openSafetensors(file);
  const tensors = new Map([...opened.tensors].map(([name, stored]) => [name, toTensor(stored.read())]));
  opened.close();
  edit(tensors);
  await writeSafetensors(file, Object.fromEntries(tensors));
  tf.dispose([...tensors.values()]);
}

function toTensor(host: {
  data: Float32Array | Int32Array;
  shape: readonly number[];
  dtype: 'float32' | 'int32';
}): Tensor {
  return tf.tensor(host.data, [...host.shape], host.dtype);
}
