/** The files of a Hugging Face model folder: names, and opening its weights, single or sharded. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openSafetensors, TensorloomError, type SafetensorsFile, type StoredTensor } from '@tensorloom/core';
import { z } from 'zod';

export const configFile = 'config.json';
export const weightsFile = 'model.safetensors';
export const indexFile = 'model.safetensors.index.json';
/** Files of the tokenizer that go along with a model. */
export const tokenizerFiles = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'] as const;

/** Contents of model.safetensors.index.json. */
export interface WeightsIndex {
  /** Tensor name → file name beside the index. */
  readonly weight_map: Readonly<Record<string, string>>;
}

export interface FolderWeights {
  /** By the names in the files. */
  readonly tensors: ReadonlyMap<string, StoredTensor & { readonly dtype: string }>;
  close(): void;
}

/** @throws TensorloomError `BAD_FILE` if it is not JSON or cannot be read */
export function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new TensorloomError('BAD_FILE', `Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TensorloomError('BAD_FILE', `${path} is not valid JSON: ${(error as Error).message}`, { cause: error });
  }
}

/** Whether `folder` is a directory with a config.json. */
export function isModelFolder(folder: string): boolean {
  return existsSync(folder) && statSync(folder).isDirectory() && existsSync(join(folder, configFile));
}

/**
 * Checks an index: shard names are plain file names, so that nothing outside the folder is read.
 * @throws TensorloomError `BAD_FILE`
 */
export function parseWeightsIndex(json: unknown, source: string): WeightsIndex {
  const parsed = z.object({ weight_map: z.record(z.string(), z.string()) }).safeParse(json);
  if (!parsed.success)
    throw new TensorloomError(
      'BAD_FILE',
      `${source}: expected an object with weight_map (tensor name → file name): ${z.prettifyError(parsed.error)}`,
    );
  for (const [name, file] of Object.entries(parsed.data.weight_map))
    if (file !== basename(file) || file === '' || file === '..' || file.includes('\\'))
      throw new TensorloomError(
        'BAD_FILE',
        `${source}: ${name} is said to be in ${JSON.stringify(file)}; a shard must be a file beside the index.`,
      );
  return parsed.data;
}

/**
 * Opens model.safetensors, else the shards of model.safetensors.index.json; tensors are read only when asked for.
 * @throws TensorloomError `BAD_FILE` naming the file that is missing or broken, or the tensor that a shard lacks
 */
export function openWeights(folder: string): FolderWeights {
  if (existsSync(join(folder, weightsFile))) {
    const file = openSafetensors(join(folder, weightsFile));
    return { tensors: file.tensors, close: () => file.close() };
  }
  const indexPath = join(folder, indexFile);
  if (!existsSync(indexPath)) {
    const pickled =
      existsSync(join(folder, 'pytorch_model.bin')) || existsSync(join(folder, 'pytorch_model.bin.index.json'));
    throw new TensorloomError(
      'BAD_FILE',
      `${folder} has neither ${weightsFile} nor ${indexFile}.` +
        (pickled ? ' It has pytorch_model.bin, a pickle, which is not read; convert it to safetensors first.' : ''),
    );
  }
  return openShards(folder, parseWeightsIndex(readJson(indexPath), indexPath), indexPath);
}

function openShards(folder: string, index: WeightsIndex, indexPath: string): FolderWeights {
  const shards = new Map<string, SafetensorsFile>();
  const close = (): void => {
    for (const shard of shards.values()) shard.close();
  };
  try {
    const missing = [...new Set(Object.values(index.weight_map))].filter((file) => !existsSync(join(folder, file)));
    if (missing.length > 0)
      throw new TensorloomError('BAD_FILE', `${indexPath} names files that are not there: ${missing.join(', ')}.`);
    const tensors = new Map<string, StoredTensor & { readonly dtype: string }>();
    for (const [name, file] of Object.entries(index.weight_map)) {
      let shard = shards.get(file);
      if (shard === undefined) shards.set(file, (shard = openSafetensors(join(folder, file))));
      const tensor = shard.tensors.get(name);
      if (tensor === undefined)
        throw new TensorloomError('BAD_FILE', `${indexPath} says that ${name} is in ${file}, but it is not.`);
      tensors.set(name, tensor);
    }
    return { tensors, close };
  } catch (error) {
    close();
    throw error;
  }
}
