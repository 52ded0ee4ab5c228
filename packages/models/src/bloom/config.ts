/** BLOOM's configuration: read from and written back to Hugging Face's config.json, validated field by field. */
import { TensorloomError, type Json, type JsonObject } from '@tensorloom/core';
import { z } from 'zod';

/** Losses of the classification head, by transformers' names. */
export const problemTypes = ['regression', 'single_label_classification', 'multi_label_classification'] as const;
/** One of `problemTypes`. */
export type ProblemType = (typeof problemTypes)[number];

/** Everything that decides a model's shapes and maths. Field names follow Hugging Face's, in camel case. */
export interface BloomConfig {
  /** Rows of the embedding table. */
  readonly vocabSize: number;
  /** Width of the hidden states; a multiple of `numHeads`. */
  readonly hiddenSize: number;
  /** Number of transformer blocks (`n_layer`). */
  readonly numLayers: number;
  /** Number of attention heads (`n_head`). */
  readonly numHeads: number;
  readonly layerNormEpsilon: number;
  /** Standard deviation of freshly initialised weights. */
  readonly initializerRange: number;
  /** Dropout probability after attention's and the MLP's output projection. */
  readonly hiddenDropout: number;
  /** Dropout probability of the attention probabilities. */
  readonly attentionDropout: number;
  /** Take the residual after the LayerNorm instead of before it. */
  readonly applyResidualConnectionPostLayernorm: boolean;
  readonly padTokenId: number | null;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** Outputs of the classification head. */
  readonly numLabels: number;
  /** Loss of the classification head; where absent it follows from `numLabels` and the labels' dtype, as in transformers. */
  readonly problemType?: ProblemType;
  /** Names of the labels, in order; length `numLabels`. */
  readonly labelNames: readonly string[];
  /** Length in tokens that the model was trained for (`seq_length`); ALiBi itself sets no limit. */
  readonly maxLength?: number;
  /** Fields of config.json that this package does not know, kept for writing back. */
  readonly extra: Readonly<JsonObject>;
}

const count = z.int().positive();
const tokenId = z.int().nonnegative().nullable();
const probability = z.number().min(0).lt(1);

/** Hugging Face's field names with our defaults, which are those of transformers' BloomConfig. */
const fileSchema = z.object({
  vocab_size: count.default(250880),
  hidden_size: count.default(64),
  n_layer: count.default(2),
  n_head: count.default(8),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  hidden_dropout: probability.default(0),
  attention_dropout: probability.default(0),
  apply_residual_connection_post_layernorm: z.boolean().default(false),
  pad_token_id: tokenId.default(null),
  bos_token_id: tokenId.default(1),
  eos_token_id: tokenId.default(2),
  num_labels: count.optional(),
  id2label: z.record(z.string().regex(/^\d+$/), z.string()).optional(),
  problem_type: z.enum(problemTypes).nullable().optional(),
  seq_length: count.optional(),
});

/** Other names that config.json files use, and ours. */
const aliases: Readonly<Record<string, string>> = {
  n_embed: 'hidden_size',
  num_hidden_layers: 'n_layer',
  num_attention_heads: 'n_head',
};

/** Fields that are written from others, so that they are not kept as unknown ones. */
const derived = new Set(['model_type', 'architectures', 'label2id', 'torch_dtype', 'dtype', 'tie_word_embeddings']);

/**
 * Validates the contents of a Hugging Face config.json.
 * @param source where it came from, for messages: a path or `the preset 'bloom-tiny'`
 * @throws TensorloomError `BAD_FILE` naming each bad field, `UNSUPPORTED` for another model type
 */
export function parseBloomConfig(json: unknown, source = 'config'): BloomConfig {
  if (json === null || typeof json !== 'object' || Array.isArray(json))
    throw new TensorloomError(
      'BAD_FILE',
      `${source}: expected a JSON object, got ${json === null ? 'null' : Array.isArray(json) ? 'an array' : typeof json}.`,
    );
  const given = resolveAliases(json as JsonObject, source);
  const modelType = given['model_type'];
  if (modelType !== undefined && modelType !== 'bloom')
    throw new TensorloomError(
      'UNSUPPORTED',
      `${source}: model_type is ${JSON.stringify(modelType)}; supported model types: bloom.`,
    );
  if (given['tie_word_embeddings'] === false)
    throw new TensorloomError(
      'UNSUPPORTED',
      `${source}: tie_word_embeddings is false; BLOOM's language-modelling head shares the embedding table.`,
    );
  const parsed = fileSchema.safeParse(given);
  if (!parsed.success)
    throw new TensorloomError(
      'BAD_FILE',
      `${source} is not a BLOOM configuration:\n` +
        parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`).join('\n'),
    );
  const file = parsed.data;
  const labelNames = readLabelNames(file.id2label, file.num_labels, source);
  const extra: Record<string, Json> = {};
  for (const [name, value] of Object.entries(given))
    if (!(name in fileSchema.shape) && !derived.has(name)) extra[name] = value;
  return validateBloomConfig(
    {
      vocabSize: file.vocab_size,
      hiddenSize: file.hidden_size,
      numLayers: file.n_layer,
      numHeads: file.n_head,
      layerNormEpsilon: file.layer_norm_epsilon,
      initializerRange: file.initializer_range,
      hiddenDropout: file.hidden_dropout,
      attentionDropout: file.attention_dropout,
      applyResidualConnectionPostLayernorm: file.apply_residual_connection_post_layernorm,
      padTokenId: file.pad_token_id,
      bosTokenId: file.bos_token_id,
      eosTokenId: file.eos_token_id,
      numLabels: labelNames.length,
      labelNames,
      ...(file.problem_type ? { problemType: file.problem_type } : {}),
      ...(file.seq_length === undefined ? {} : { maxLength: file.seq_length }),
      extra,
    },
    source,
  );
}

/**
 * Changes fields of a configuration and checks the result. A new `numLabels` without `labelNames` gets names LABEL_0, LABEL_1, …
 * @throws TensorloomError `BAD_FILE` naming the field
 */
export function withConfig(config: BloomConfig, changes: Partial<BloomConfig>, source = 'config'): BloomConfig {
  const next = { ...config, ...changes };
  if (changes.labelNames !== undefined && changes.numLabels === undefined) next.numLabels = changes.labelNames.length;
  if (next.labelNames.length !== next.numLabels && changes.labelNames === undefined)
    next.labelNames = defaultLabelNames(next.numLabels);
  return validateBloomConfig(next, source);
}

/** What transformers calls `architectures`. */
export type Architecture = 'BloomForSequenceClassification' | 'BloomForCausalLM';

/** The contents of config.json, under the names that transformers writes, unknown fields included. */
export function toHuggingFaceConfig(config: BloomConfig, architecture: Architecture): JsonObject {
  const json: JsonObject = {
    ...config.extra,
    architectures: [architecture],
    model_type: 'bloom',
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    n_layer: config.numLayers,
    n_head: config.numHeads,
    layer_norm_epsilon: config.layerNormEpsilon,
    initializer_range: config.initializerRange,
    hidden_dropout: config.hiddenDropout,
    attention_dropout: config.attentionDropout,
    apply_residual_connection_post_layernorm: config.applyResidualConnectionPostLayernorm,
    pad_token_id: config.padTokenId,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenId,
    tie_word_embeddings: true,
    // Both names: transformers 5 reads `dtype`, older ones `torch_dtype`.
    dtype: 'float32',
    torch_dtype: 'float32',
  };
  if (architecture === 'BloomForSequenceClassification') {
    json['id2label'] = Object.fromEntries(config.labelNames.map((name, id) => [String(id), name]));
    json['label2id'] = Object.fromEntries(config.labelNames.map((name, id) => [name, id]));
    if (config.problemType !== undefined) json['problem_type'] = config.problemType;
  }
  if (config.maxLength !== undefined) json['seq_length'] = config.maxLength;
  return json;
}

function validateBloomConfig(config: BloomConfig, source: string): BloomConfig {
  const fail = (message: string): never => {
    throw new TensorloomError('BAD_FILE', `${source}: ${message}`);
  };
  if (config.hiddenSize % config.numHeads !== 0)
    fail(
      `hidden_size ${config.hiddenSize} is not divisible by n_head ${config.numHeads}; each head needs the same width.`,
    );
  for (const [field, id] of [
    ['pad_token_id', config.padTokenId],
    ['bos_token_id', config.bosTokenId],
    ['eos_token_id', config.eosTokenId],
  ] as const)
    if (id !== null && id >= config.vocabSize)
      fail(`${field} ${id} is outside the vocabulary of vocab_size ${config.vocabSize}.`);
  if (config.labelNames.length !== config.numLabels)
    fail(
      `num_labels is ${config.numLabels}, but ${config.labelNames.length} label names are given (${config.labelNames.join(', ')}).`,
    );
  const repeated = config.labelNames.find((name, id) => config.labelNames.indexOf(name) !== id);
  if (repeated !== undefined) fail(`two labels are named '${repeated}'; label names must differ.`);
  for (const field of ['vocabSize', 'hiddenSize', 'numLayers', 'numHeads', 'numLabels'] as const)
    if (!Number.isInteger(config[field]) || config[field] < 1)
      fail(`${field} must be a positive integer, got ${config[field]}.`);
  for (const field of ['hiddenDropout', 'attentionDropout'] as const)
    if (!(config[field] >= 0 && config[field] < 1))
      fail(`${field} must be at least 0 and below 1, got ${config[field]}.`);
  return config;
}

/** The same fields, each under our name. */
function resolveAliases(json: JsonObject, source: string): JsonObject {
  const given: JsonObject = {};
  for (const [field, value] of Object.entries(json)) {
    const name = aliases[field] ?? field;
    const other = given[name];
    if (other !== undefined && other !== value)
      throw new TensorloomError(
        'BAD_FILE',
        `${source}: ${name} is given twice under names that mean the same: ${JSON.stringify(other)}, and ${JSON.stringify(value)} as ${field}; keep one.`,
      );
    given[name] = value;
  }
  return given;
}

function readLabelNames(
  idToLabel: Record<string, string> | undefined,
  numLabels: number | undefined,
  source: string,
): string[] {
  if (idToLabel === undefined) return defaultLabelNames(numLabels ?? 2);
  const size = Object.keys(idToLabel).length;
  if (numLabels !== undefined && numLabels !== size)
    throw new TensorloomError('BAD_FILE', `${source}: num_labels is ${numLabels}, but id2label names ${size} labels.`);
  return Array.from({ length: size }, (_, id) => {
    const name = idToLabel[String(id)];
    if (name === undefined)
      throw new TensorloomError('BAD_FILE', `${source}: id2label has ${size} entries but none for label ${id}.`);
    return name;
  });
}

function defaultLabelNames(numLabels: number): string[] {
  return Array.from({ length: numLabels }, (_, id) => `LABEL_${id}`);
}
