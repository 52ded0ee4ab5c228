/**
 * Every option of a training run: type, bounds, help. The one source for flags (flags.ts), configuration files
 * (config-file.ts), the help text and the table in README.md. Defaults are in defaults.ts.
 */
import { z } from 'zod';

const count = (): z.ZodNumber => z.int().positive();
const countOrZero = (): z.ZodNumber => z.int().nonnegative();
const name = (): z.ZodString => z.string().min(1);

export const runSchema = z.strictObject({
  // What is trained on what
  model: name().describe(
    'a preset name (fresh weights), a folder in Hugging Face format, a run folder, or a hub id such as bigscience/bloom-560m',
  ),
  tokenizer: name()
    .optional()
    .describe(
      'tokenizer.json, or a folder with one; default: the one of the model, else one trained on the training part',
    ),
  vocabularySize: count().optional().describe('entries of the tokenizer that is trained when none is given'),
  hiddenSize: count().optional().describe("overrides the preset's hidden size; fresh weights only"),
  layers: count().optional().describe("overrides the preset's number of blocks; fresh weights only"),
  heads: count().optional().describe("overrides the preset's number of attention heads; fresh weights only"),
  dropout: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe("dropout rate of hidden states and attention, 0..1; default: the model's own"),
  data: name().describe('data set: quickstart, imdb, jsonl or csv'),
  dataPath: name()
    .optional()
    .describe(
      'imdb: the tarball or the unpacked folder; jsonl, csv: the file, or a folder with train, validation and test files',
    ),
  split: z.enum(['blog', 'standard']).describe('imdb: the partition of the blog (35k/5k/10k) or the published one'),
  textField: name().describe('jsonl, csv: name of the field with the text'),
  labelField: name().describe('jsonl, csv: name of the field with the label'),
  maxLength: count().describe('texts are cut to this many tokens'),
  padding: z.enum(['longest', 'max']).describe('pad to the longest text of the micro-batch, or to --max-length'),
  paddingSide: z
    .enum(['left', 'right'])
    .optional()
    .describe("side on which short texts are padded; default: the tokenizer's own"),
  bucketing: z.boolean().describe('put texts of similar length into one micro-batch'),

  // How the step is made
  strategy: name().describe(
    'how a step is made: accumulate or single on one device; ddp (the default there), zero1, zero2 or fsdp on several',
  ),
  devices: count()
    .optional()
    .describe('devices on each machine, a rank for each; default: what a launcher has started, else 1'),
  numNodes: count()
    .optional()
    .describe(
      'machines; default: what a launcher has started, else 1. On several, start with tensorloom launch or a scheduler',
    ),
  processGroup: name().describe(
    'how ranks talk: auto, shm (one machine), ws, shm+ws (shm within machines, ws between), mpi (under mpirun)',
  ),
  accelerator: name().describe('what computes: auto, native, tensorflow, wasm, cpu'),
  precision: name().describe('how numbers are stored: 32-true, 16-mixed, bf16-mixed, …'),
  threads: count().optional().describe('compute threads; default: what the accelerator chooses'),
  compile: z
    .boolean()
    .describe('run each transformer block as one operation, where the accelerator has a compiler (native)'),
  activationCheckpointing: z
    .boolean()
    .describe(
      'keep only the inputs of transformer blocks for backward, which computes them again: less memory, a third more work',
    ),
  microBatchSize: count().describe('texts per forward and backward pass'),
  accumulate: count().describe(
    'micro-batches per optimizer step over all ranks, which take equal parts of them; effective batch size = micro-batch size x accumulate',
  ),
  bucketMegabytes: z
    .number()
    .positive()
    .optional()
    .describe('ddp, zero1, zero2: gradients travel in pieces of this size'),
  compression: z
    .enum(['none', 'float16', 'bfloat16'])
    .optional()
    .describe('ddp: gradients travel as halves; fewer bytes, less exact'),
  reduceEachMicroBatch: z
    .boolean()
    .optional()
    .describe(
      'zero2, fsdp: reduce gradients after each micro-batch (least memory, the default) or once per step (fewest messages)',
    ),
  parameterStorage: z
    .enum(['float32', 'float16', 'bfloat16'])
    .optional()
    .describe('fsdp: numbers in which parameters travel to where they are used; shards stay float32'),
  reductionStorage: z
    .enum(['float32', 'float16', 'bfloat16'])
    .optional()
    .describe('fsdp: numbers in which gradients travel'),
  collectiveTimeoutMs: count().optional().describe('how long ranks wait for one that does not come'),
  rankTimeoutMs: count().optional().describe('how long a rank may give no sign of life'),
  listenAddress: name()
    .optional()
    .describe(
      'ws: address to listen on; default: the one that leads to the machine of rank zero, loopback on one machine',
    ),
  networkInterface: name().optional().describe('ws: network interface to use'),
  tlsCertificate: name()
    .optional()
    .describe('ws: PEM file with the certificate of this machine; ranks then talk by TLS'),
  tlsKey: name().optional().describe('ws: PEM file with its private key'),
  tlsAuthority: name()
    .optional()
    .describe('ws: PEM file with the authority that signed the certificates of all machines'),

  // Optimization
  optimizer: z.enum(['adam', 'adamw', 'sgd']).describe('optimizer'),
  lr: z.number().positive().describe('learning rate (after warm-up)'),
  weightDecay: z
    .number()
    .nonnegative()
    .optional()
    .describe('weight decay: L2 for adam and sgd (default: 0), decoupled for adamw (default: 0.01)'),
  momentum: z.number().min(0).lt(1).optional().describe('momentum of sgd; default: 0'),
  schedule: z
    .enum(['constant', 'linear', 'cosine'])
    .describe('course of the learning rate after warm-up, down to 0 at the last step for linear and cosine'),
  warmupSteps: countOrZero().describe('optimizer steps over which the learning rate rises from 0'),
  clipNorm: z.number().positive().optional().describe('largest global gradient norm; default: no clipping'),
  clipValue: z.number().positive().optional().describe('largest absolute gradient element; default: no clipping'),
  maxSkippedSteps: count().describe('stop after this many optimizer steps in a row without a finite gradient'),
  epochs: count().describe('passes over the training part'),
  maxSteps: count().optional().describe('stop after this many optimizer steps, even within an epoch'),
  seed: countOrZero().describe('seed of everything that is random'),

  // What is reported and kept
  evalBatchSize: count().describe('texts per batch in evaluation'),
  evalLimit: count()
    .optional()
    .describe('evaluate on the first so many texts of the validation and of the test part only'),
  evalEvery: count().optional().describe('evaluate the validation part also each so many optimizer steps'),
  logEvery: count().describe('micro-batches between log lines and rows of metrics.csv'),
  checkpointEvery: count().describe('optimizer steps between checkpoints; one more is written at the end'),
  checkpointEveryMicroBatches: count()
    .optional()
    .describe('micro-batches between checkpoints, also in the middle of a step'),
  keepCheckpoints: count().describe('how many of the newest checkpoints are kept'),
  outputDir: name().describe('folder in which run folders are made'),
  runName: name().optional().describe('name of the run folder; default: the time of the start'),
  quiet: z.boolean().describe('print only the result'),
});

/** All options of a run, resolved. */
export type RunConfig = z.infer<typeof runSchema>;
export type OptionKey = keyof RunConfig;
/** Some of the options: what a preset, a configuration file or a command line gives. */
export type PartialRunConfig = Partial<RunConfig>;

export const optionKeys = Object.keys(runSchema.shape) as OptionKey[];

/** `microBatchSize` -> `micro-batch-size`, the name in flags and files. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`);
}

/** `micro-batch-size` -> `microBatchSize`. */
export function keyOfFlag(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** How an option is written on the command line. */
export interface OptionForm {
  readonly kind: 'number' | 'text' | 'switch' | 'choice';
  readonly help: string;
  readonly choices?: readonly string[];
}

/** The form of one option, read from its schema. */
export function optionForm(key: OptionKey): OptionForm {
  const field = runSchema.shape[key];
  const inner = field instanceof z.ZodOptional ? field.unwrap() : field;
  const help = field.description ?? inner.description ?? '';
  if (inner instanceof z.ZodEnum) return { kind: 'choice', help, choices: inner.options.map(String) };
  if (inner instanceof z.ZodBoolean) return { kind: 'switch', help };
  return { kind: inner instanceof z.ZodNumber ? 'number' : 'text', help };
}
