/** From a model, or its stored parameters, to a Hugging Face model folder that transformers opens. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  TensorloomError,
  writeFileAtomically,
  writeFolderAtomically,
  writeSafetensors,
  type Json,
  type JsonObject,
  type LazyTensor,
  type StoredTensor,
  type WritableTensor,
} from '@tensorloom/core';
import { BloomForCausalLM } from '../bloom/causal-lm.ts';
import { toHuggingFaceConfig, type Architecture, type BloomConfig } from '../bloom/config.ts';
import type { BloomForSequenceClassification } from '../bloom/sequence-classification.ts';
import { parameterShapes } from '../bloom/shapes.ts';
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

/** Parameters by Hugging Face name, read when it is their turn: of a checkpoint, or of a module that is spread over ranks. */
export interface ModelState {
  readonly tensors: ReadonlyMap<string, Pick<StoredTensor, 'shape' | 'read'>>;
}

/**
 * Writes config.json, the weights and the tokenizer's files. All is written under a temporary name beside `folder` and renamed at
 * the end, so `folder` is either whole or what it was before; a folder that was there is replaced.
 * @param options.state where the parameters are read from, for a module that holds but a part of them:
 *   `fabric.withWholeModule(model, (state) => saveModelFolder(folder, model, { state }))`. Default: the module's own
 * @throws TensorloomError `BAD_OPTION` for a tokenizer that is not there, `BAD_CHECKPOINT` for a state that is not the model's, `IO` if writing fails
 */
export async function saveModelFolder(
  folder: string,
  model: BloomForSequenceClassification | BloomForCausalLM,
  options: SaveFolderOptions & { readonly state?: ModelState } = {},
): Promise<void> {
  const architecture = model instanceof BloomForCausalLM ? 'BloomForCausalLM' : 'BloomForSequenceClassification';
  const { state, ...rest } = options;
  if (state === undefined) await writeFolder(folder, model.config, architecture, model.stateDict().tensors, rest);
  else await saveModelState(folder, { config: model.config, architecture, state }, rest);
}

/**
 * As `saveModelFolder`, without a model: the same bytes from stored parameters, of which one at a time is in memory.
 * @throws TensorloomError `BAD_CHECKPOINT` naming every parameter that is missing, unexpected or of another shape; and as `saveModelFolder`
 */
export async function saveModelState(
  folder: string,
  source: { readonly config: BloomConfig; readonly architecture: Architecture; readonly state: ModelState },
  options: SaveFolderOptions = {},
): Promise<void> {
  const { config, architecture, state } = source;
  await writeFolder(folder, config, architecture, ordered(state, config, architecture), options);
}

type Tensors = Readonly<Record<string, WritableTensor>>;

async function writeFolder(
  folder: string,
  config: BloomConfig,
  architecture: Architecture,
  tensors: Tensors,
  options: SaveFolderOptions,
): Promise<void> {
  const tokenizer = options.tokenizer === undefined ? undefined : findTokenizer(options.tokenizer);
  await writeFolderAtomically(folder, async (temporary) => {
    await writeJson(join(temporary, configFile), toHuggingFaceConfig(config, architecture));
    await writeWeights(temporary, tensors, options.maxShardBytes ?? 5e9);
    if (tokenizer !== undefined) await writeTokenizer(temporary, tokenizer, config, options.paddingSide ?? 'right');
  });
}

/** In the order of the module, by which shards are filled: files store tensors in another. */
function ordered({ tensors }: ModelState, config: BloomConfig, architecture: Architecture): Tensors {
  const head = architecture === 'BloomForCausalLM' ? 'causal-lm' : 'sequence-classification';
  const expected = new Map(parameterShapes(config, head));
  const problems = [...tensors.keys()].filter((name) => !expected.has(name)).map((name) => `unexpected: ${name}`);
  const found: Record<string, LazyTensor> = {};
  for (const [name, shape] of expected) {
    const tensor = tensors.get(name);
    if (tensor === undefined) problems.push(`missing: ${name}`);
    else if (String(tensor.shape) !== String(shape))
      problems.push(`shape of ${name}: stored [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`);
    else found[name] = { dtype: 'float32', shape, read: () => tensor.read() };
  }
  if (problems.length > 0)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `The stored parameters are not those of this ${architecture}:\n  ${problems.join('\n  ')}`,
    );
  return found;
}

async function writeWeights(folder: string, tensors: Tensors, maxShardBytes: number): Promise<void> {
  const sizes = new Map(
    Object.entries(tensors).map(([name, { shape }]) => [name, shape.reduce((product, n) => product * n, 1)]),
  );
  const plan = planShards(new Map([...sizes].map(([name, size]) => [name, size * 4])), maxShardBytes);
  for (const { fileName, names } of plan.shards) {
    const part = Object.fromEntries(Object.entries(tensors).filter(([name]) => names.includes(name)));
    await writeSafetensors(join(folder, fileName), part, { format: 'pt' });
  }
  if (plan.shards.length === 1) return;
  const weightMap = Object.fromEntries(
    plan.shards.flatMap(({ fileName, names }) => names.map((name) => [name, fileName])),
  );
  const parameters = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const metadata = { total_parameters: parameters, total_size: plan.totalBytes };
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
