/** What the JSON files of reference cases must look like. */
import { z } from 'zod';
import { withNeutralExtras } from './hyper-parameters.ts';

const size = z.int().positive();
const rate = z.number().positive();

/** Hyper-parameters; names and defaults are PyTorch's. */
const hyperParameters = {
  lr: rate,
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).optional(),
  eps: z.number().min(0).optional(),
  weight_decay: z.number().min(0).optional(),
  /** Whether the decay is AdamW's; must say what the algorithm does. */
  decoupled_weight_decay: z.boolean().optional(),
  momentum: z.number().min(0).optional(),
  dampening: z.number().optional(),
  nesterov: z.boolean().optional(),
  /** Gradients are clipped to this global norm. */
  max_norm: rate.optional(),
  /** Gradients are clipped to this absolute value. */
  max_value: rate.optional(),
};

/** One optimizer run of a model case. */
export const optimizerRunSchema = withNeutralExtras({
  ...hyperParameters,
  /** Which algorithm; when absent the tag itself must be one. */
  optimizer: z.enum(['adam', 'adamw', 'sgd']).optional(),
  /** Micro-batches in each step's window (default 1). */
  micro_batches_per_step: size.optional(),
  /** Number of steps, where the losses do not tell. */
  steps: size.optional(),
});
export type OptimizerRun = z.infer<typeof optimizerRunSchema>;

/** Hugging Face's config.json, or the part of it that matters; validated by the model itself. */
const jsonConfigSchema = z.record(z.string(), z.json());
export type JsonConfig = z.infer<typeof jsonConfigSchema>;

/** Those that belong to an optimizer run must be numbers; of others nothing is asked. */
const scalarsSchema = z.record(z.string(), z.json());

/** `NAME.json` of a model case: forward, gradients and optimizer runs. */
export const modelCaseSchema = z.looseObject({
  config: jsonConfigSchema,
  batch: size.optional(),
  seq: size.optional(),
  micro_batches: size.optional(),
  optimizers: z.record(z.string(), optimizerRunSchema).default({}),
  scalars: scalarsSchema.default({}),
});
export type ModelCaseJson = z.infer<typeof modelCaseSchema>;

/** `NAME.json` of a fine-tuning run on given reviews in a given order. */
export const trainRunSchema = z.looseObject({
  config: jsonConfigSchema,
  optimizer: withNeutralExtras({ ...hyperParameters, name: z.enum(['adam', 'adamw', 'sgd']) }),
  /** Reviews in a micro-batch. */
  micro_batch: size,
  /** Micro-batches in each step's window. */
  accumulate: size,
  /** Optimizer steps. */
  steps: size,
  /** The loss of each micro-batch, `steps × accumulate` of them. */
  losses: z.array(z.number()).min(1),
  eval_accuracy_before: z.number().min(0).max(1).optional(),
  eval_accuracy_after: z.number().min(0).max(1).optional(),
  /** Reviews in a batch of evaluation. */
  eval_batch: size.default(32),
});
export type TrainRunJson = z.infer<typeof trainRunSchema>;

/** `encodings.json` beside a `tokenizer.json`. */
export const encodingsSchema = z.looseObject({
  rows: z
    .array(z.looseObject({ text: z.string(), ids: z.array(z.int().min(0)), decoded: z.string().optional() }))
    .min(1),
});

const partSchema = z.looseObject({
  count: size,
  positives: z.int().min(0),
  first: z.array(z.string()),
  last: z.array(z.string()),
  sha256_of_newline_joined_files: z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits'),
});

/** The partition of IMDB: digests of the file lists. */
export const partitionSchema = z.looseObject({ train: partSchema, validation: partSchema, test: partSchema });
export type PartitionJson = z.infer<typeof partitionSchema>;
