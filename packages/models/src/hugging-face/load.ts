/** From a Hugging Face model folder to a model, with an account of what was found. */
import { join } from 'node:path';
import { TensorloomError, type Module, type StoredTensor } from '@tensorloom/core';
import { BloomForCausalLM } from '../bloom/causal-lm.ts';
import { parseBloomConfig, withConfig, type BloomConfig } from '../bloom/config.ts';
import { Initializer, type BuildOptions } from '../bloom/initialization.ts';
import { BloomForSequenceClassification } from '../bloom/sequence-classification.ts';
import { configFile, openWeights, readJson } from './model-files.ts';

/** The heads that a model can be built with. */
export interface ModelByHead {
  readonly 'sequence-classification': BloomForSequenceClassification;
  readonly 'causal-lm': BloomForCausalLM;
}
/** Names of the heads. */
export type HeadName = keyof ModelByHead;

/** Options of `loadModelFolder`. */
export interface LoadFolderOptions extends Pick<BuildOptions, 'random'> {
  /** Changes to the folder's configuration: labels, dropout. */
  readonly config?: Partial<BloomConfig>;
  /** Initialise a stored head of another shape afresh instead of refusing it. Default false. */
  readonly ignoreMismatchedHead?: boolean;
  /** Initialise the head afresh even where the files have one. Default false. */
  readonly freshHead?: boolean;
}

/** What loading found. */
export interface LoadReport {
  /** Parameters that the files did not have: they hold random values. */
  readonly freshlyInitialized: readonly string[];
  /** Tensors of the files that the model has no place for. */
  readonly unused: readonly string[];
  /** Storage types in the files, converted to float32. */
  readonly storedAs: readonly string[];
}

/** A model that was loaded. */
export interface Loaded<Model extends Module> {
  readonly model: Model;
  readonly config: BloomConfig;
  readonly report: LoadReport;
}

/**
 * Reads the configuration of a folder.
 * @throws TensorloomError `BAD_FILE`, `UNSUPPORTED`
 */
export function readConfig(folder: string, changes: Partial<BloomConfig> = {}): BloomConfig {
  const path = join(folder, configFile);
  return withConfig(parseBloomConfig(readJson(path), path), changes, path);
}

/** A model with random weights. */
export function buildModel<H extends HeadName>(
  head: H,
  config: BloomConfig,
  options: BuildOptions = {},
): ModelByHead[H] {
  const model =
    head === 'causal-lm' ? new BloomForCausalLM(config, options) : new BloomForSequenceClassification(config, options);
  return model as ModelByHead[H];
}

/**
 * Loads a folder as transformers' from_pretrained does: names with and without the prefix `transformer.` are accepted, and
 * a missing classification head is initialised afresh and reported.
 * @throws TensorloomError `BAD_FILE` for unreadable files and for weights of more blocks than the configuration says, `BAD_CHECKPOINT` naming every tensor that is missing or has another shape
 */
export function loadModelFolder<H extends HeadName>(
  folder: string,
  head: H,
  options: LoadFolderOptions = {},
): Loaded<ModelByHead[H]> {
  const config = readConfig(folder, options.config);
  const weights = openWeights(folder);
  try {
    const model = buildModel(head, config, { emptyInit: true });
    try {
      return { model, config, report: fill(model, weights.tensors, config, folder, options) };
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    weights.close();
  }
}

type Stored = ReadonlyMap<string, StoredTensor & { readonly dtype: string }>;

function fill(
  model: Module,
  stored: Stored,
  config: BloomConfig,
  folder: string,
  options: LoadFolderOptions,
): LoadReport {
  refuseFurtherBlocks(stored, config, folder);
  const found = new Map<string, StoredTensor>();
  const used = new Set<string>();
  const fresh: string[] = [];
  const problems: string[] = [];
  for (const [name, parameter] of model.namedParameters()) {
    const isHead = !name.startsWith('transformer.');
    const fileName = [name, name.replace(/^transformer\./, '')].find((candidate) => stored.has(candidate));
    if (fileName === undefined) {
      if (isHead) fresh.push(name);
      else problems.push(`missing: ${name}`);
      continue;
    }
    const tensor = stored.get(fileName) as StoredTensor;
    used.add(fileName);
    if (isHead && options.freshHead === true) fresh.push(name);
    else if (
      tensor.shape.length === parameter.shape.length &&
      tensor.shape.every((n, axis) => n === parameter.shape[axis])
    )
      found.set(name, tensor);
    else if (isHead && options.ignoreMismatchedHead === true) fresh.push(name);
    else
      problems.push(
        `shape of ${fileName}: stored [${tensor.shape.join(', ')}], expected [${parameter.shape.join(', ')}]` +
          (isHead ? ' (another number of labels; a new head can be asked for)' : ''),
      );
  }
  // A tied head that was written out anyway is the embedding table once more.
  const unused = [...stored.keys()].filter((name) => !used.has(name) && name !== 'lm_head.weight');
  if (stored.has('lm_head.weight') && 'score' in model) unused.push('lm_head.weight');
  if (problems.length > 0) {
    const hint =
      unused.length > 0
        ? `\n  not used: ${unused.slice(0, 8).join(', ')}${unused.length > 8 ? `, and ${unused.length - 8} more` : ''}`
        : '';
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `The weights in ${folder} do not fit its configuration:\n  ${problems.join('\n  ')}${hint}`,
    );
  }
  model.loadStateDict({ tensors: found, values: {} }, { strict: false });
  initializeAfresh(model, fresh, config, options);
  return {
    freshlyInitialized: fresh,
    unused,
    storedAs: [...new Set([...used].map((name) => stored.get(name)?.dtype ?? ''))].sort(),
  };
}

/** A model cut short would load and give worse answers without a word. */
function refuseFurtherBlocks(stored: Stored, { numLayers }: BloomConfig, folder: string): void {
  let blocks = 0;
  for (const name of stored.keys()) {
    const block = /^(?:transformer\.)?h\.(\d+)\./.exec(name)?.[1];
    if (block !== undefined) blocks = Math.max(blocks, Number(block) + 1);
  }
  if (blocks > numLayers)
    throw new TensorloomError(
      'BAD_FILE',
      `${folder}: ${configFile} says n_layer ${numLayers}, the weights have ${blocks} blocks (h.${blocks - 1}). Correct n_layer, or give the weights that belong to this configuration.`,
    );
}

function initializeAfresh(
  model: Module,
  names: readonly string[],
  config: BloomConfig,
  options: LoadFolderOptions,
): void {
  const initializer = new Initializer(
    config.initializerRange,
    options.random === undefined ? {} : { random: options.random },
  );
  for (const [name, parameter] of model.namedParameters())
    if (names.includes(name)) parameter.assign(initializer.weight(parameter.shape).value);
}
