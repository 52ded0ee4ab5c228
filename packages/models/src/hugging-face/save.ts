/** From a model to a Hugging Face model folder that transformers opens. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  TensorloomError,
  writeFileAtomically,
  writeFolderAtomically,
  writeSafetensors,
  type Json,
  type JsonObject,
} from '@tensorloom/core';
import { BloomForCausalLM } from '../bloom/causal-lm.ts';
import { toHuggingFaceConfig, type BloomConfig } from '../bloom/config.ts';
import type { BloomForSequenceClassification } from '../bloom/sequence-classification.ts';
import { configFile, indexFile, readJson, tokenizerFiles } from './model-files.ts';
import { planShards } from './shards.ts';

/** Options of `saveModelFolder`. */
export interface SaveFolderOptions {
  /** A tokenizer.json, or a folder with one; its tokenizer_config.json and special_tokens_map.json come along where they are. */
  readonly tokenizer?: string;
  /** Side that rows are padded on, for a tokenizer_config.json that has to be made. Default `right`. */
  readonly paddingSide?: 'left' | 'right';
  /** Largest size of one weights file in bytes; above it the weights are sharded. Default 5e9, as transformers'. */
  readonly maxShardBytes?: number;
}

/**
 * Writes config.json, the weights and the tokenizer's files. All is written under a temporary name beside `folder` and renamed at
 * the end, so `folder` is either whole or what it was before; a folder that was there is replaced.
 * @throws TensorloomError `BAD_OPTION` for a tokenizer that is not there, `IO` if writing fails
 */
export async function saveModelFolder(
  folder: string,
  model: BloomForSequenceClassification | BloomForCausalLM,
  options: SaveFolderOptions = {},
): Promise<void> {
  const tokenizer = options.tokenizer === undefined ? undefined : findTokenizer(options.tokenizer);
  const architecture = model instanceof BloomForCausalLM ? 'BloomForCausalLM' : 'BloomForSequenceClassification';
  await writeFolderAtomically(folder, async (temporary) => {
    await writeJson(join(temporary, configFile), toHuggingFaceConfig(model.config, architecture));
    await writeWeights(temporary, model, options.maxShardBytes ?? 5e9);
    if (tokenizer !== undefined)
      await writeTokenizer(temporary, tokenizer, model.config, options.paddingSide ?? 'right');
  });
}

async function writeWeights(
  folder: string,
  model: BloomForSequenceClassification | BloomForCausalLM,
  maxShardBytes: number,
): Promise<void> {
  const { tensors } = model.stateDict();
  const plan = planShards(
    new Map(Object.entries(tensors).map(([name, tensor]) => [name, tensor.size * 4])),
    maxShardBytes,
  );
  for (const { fileName, names } of plan.shards) {
    const part = Object.fromEntries(Object.entries(tensors).filter(([name]) => names.includes(name)));
    await writeSafetensors(join(folder, fileName), part, { format: 'pt' });
  }
  if (plan.shards.length === 1) return;
  const weightMap = Object.fromEntries(
    plan.shards.flatMap(({ fileName, names }) => names.map((name) => [name, fileName])),
  );
  const metadata = { total_parameters: model.parameterCount(), total_size: plan.totalBytes };
  await writeJson(join(folder, indexFile), { metadata, weight_map: weightMap });
}

function findTokenizer(path: string): string {
  const file = basename(path) === 'tokenizer.json' ? path : join(path, 'tokenizer.json');
  if (!existsSync(file))
    throw new TensorloomError(
      'BAD_OPTION',
      `No tokenizer at ${path}: expected a tokenizer.json, or a folder with one.`,
    );
  return file;
}

async function writeTokenizer(
  folder: string,
  tokenizerJson: string,
  config: BloomConfig,
  paddingSide: 'left' | 'right',
): Promise<void> {
  for (const name of tokenizerFiles) {
    const source = join(dirname(tokenizerJson), name);
    if (!existsSync(source)) continue;
    await writeFileAtomically(join(folder, name), readFileSync(source));
  }
  const configPath = join(folder, 'tokenizer_config.json');
  if (!existsSync(configPath))
    await writeJson(configPath, tokenizerConfig(readJson(tokenizerJson), config, paddingSide));
}

/** The tokenizer_config.json that lets transformers' AutoTokenizer open a bare tokenizer.json. */
function tokenizerConfig(tokenizer: unknown, config: BloomConfig, paddingSide: 'left' | 'right'): JsonObject {
  const added = ((tokenizer as { added_tokens?: { id: number; content: string }[] } | null)?.added_tokens ?? []) as {
    id: number;
    content: string;
  }[];
  const json: JsonObject = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    padding_side: paddingSide,
    clean_up_tokenization_spaces: false,
  };
  for (const [name, id] of [
    ['pad_token', config.padTokenId],
    ['bos_token', config.bosTokenId],
    ['eos_token', config.eosTokenId],
  ] as const) {
    const token = added.find((candidate) => candidate.id === id);
    if (token !== undefined) json[name] = token.content;
  }
  if (config.maxLength !== undefined) json['model_max_length'] = config.maxLength;
  return json;
}

/** JSON as transformers writes it: two spaces, keys sorted, a newline at the end. */
async function writeJson(path: string, json: JsonObject): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(sortKeys(json), null, 2)}\n`);
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, entry]) => [key, sortKeys(entry)]),
  );
}
