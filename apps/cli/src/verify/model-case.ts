/** A model case: weights, inputs, and what PyTorch made of them. Read and validated in full before anything runs. */
import type { StoredTensor } from '@tensorloom/core';
import type { BloomConfig } from '@tensorloom/models';
import { badCase, parseWith } from './case-error.ts';
import { modelCaseSchema, type ModelCaseJson, type OptimizerRun } from './case-schema.ts';
import { decayProblem } from './hyper-parameters.ts';
import { readCaseConfig, readWeights } from './case-weights.ts';
import { TensorFile } from './tensor-file.ts';

/** Groups of tensors that are no optimizer run. */
const OWN_GROUPS: readonly string[] = ['weights', 'inputs', 'forward', 'grads'];
const ALGORITHMS = ['adam', 'adamw', 'sgd'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** One optimizer run of a case. */
export interface OptimizerSection {
  /** Its key in `optimizers`, and the group of the parameters after it. */
  readonly tag: string;
  readonly algorithm: Algorithm;
  readonly options: OptimizerRun;
  readonly steps: number;
  /** Micro-batches in each step's window. */
  readonly accumulate: number;
  /** The reference loss of each micro-batch, in order, if given. */
  readonly losses: readonly number[] | undefined;
  /** The reference gradient norm of each step before clipping, if given. */
  readonly norms: readonly number[] | undefined;
}

export interface ModelCase {
  readonly kind: 'model';
  readonly name: string;
  readonly jsonFile: string;
  readonly json: ModelCaseJson;
  readonly config: BloomConfig;
  readonly tensors: TensorFile;
  /** Initial parameters by their full names; all of them, in the right shapes. */
  readonly weights: ReadonlyMap<string, StoredTensor>;
  /** Sequence classification has a `score` head; without it the case is a causal language model. */
  readonly head: 'classification' | 'causal-lm';
  /** Of the inputs, [microBatches, batch, seq]. */
  readonly microBatches: number;
  readonly batch: number;
  readonly seq: number;
  readonly optimizers: readonly OptimizerSection[];
  /** What the case has that is not compared with anything. */
  readonly notes: readonly string[];
}

/** @throws TensorloomError `BAD_FILE` naming the file and the key */
export function readModelCase(name: string, jsonFile: string, value: unknown, tensorsFile: string): ModelCase {
  const json = parseWith(jsonFile, modelCaseSchema, value);
  const tensors = new TensorFile(tensorsFile);
  try {
    const config = readCaseConfig(jsonFile, json.config, tensors);
    const weights = readWeights(jsonFile, config, tensors);
    const inputs = readInputShapes(json, jsonFile, tensors, weights.has('score.weight'));
    const optimizers = Object.entries(json.optimizers).flatMap(([tag, options]) =>
      readSection(tag, options, json, jsonFile, tensors, inputs),
    );
    for (const group of tensors.groups())
      if (!OWN_GROUPS.includes(group) && json.optimizers[group] === undefined)
        throw badCase(jsonFile, `optimizers.${group}`, `missing, though ${tensorsFile} has tensors ${group}/…`);
    const head = weights.has('score.weight') ? 'classification' : 'causal-lm';
    const read: ModelCase = {
      kind: 'model',
      name,
      jsonFile,
      json,
      config,
      tensors,
      weights,
      head,
      ...inputs,
      optimizers,
      notes: notesOn(name, json, optimizers),
    };
    checkReferences(read);
    return read;
  } catch (error) {
    tensors.close();
    throw error;
  }
}

function readInputShapes(
  json: ModelCaseJson,
  jsonFile: string,
  tensors: TensorFile,
  classification: boolean,
): { microBatches: number; batch: number; seq: number } {
  const ids = tensors.shape('inputs/input_ids');
  if (ids.length !== 2 && ids.length !== 3)
    throw badCase(
      tensors.path,
      'inputs/input_ids',
      `expected [micro_batches, batch, seq] or [batch, seq], found [${ids.join(', ')}]`,
    );
  const [microBatches, batch, seq] = (ids.length === 3 ? ids : [1, ...ids]) as [number, number, number];
  const mask = 'inputs/attention_mask';
  if (tensors.has(mask) && tensors.shape(mask).join() !== ids.join())
    throw badCase(
      tensors.path,
      mask,
      `expected the shape of input_ids, [${ids.join(', ')}], found [${tensors.shape(mask).join(', ')}]`,
    );
  const labels = 'inputs/labels';
  if (tensors.has(labels)) {
    const shape = tensors.shape(labels);
    const lead = classification ? ids.slice(0, -1) : ids;
    if (lead.join() !== shape.slice(0, lead.length).join() || shape.length > lead.length + (classification ? 1 : 0))
      throw badCase(
        tensors.path,
        labels,
        `expected [${lead.join(', ')}]${classification ? ' (and labels)' : ''}, found [${shape.join(', ')}]`,
      );
  }
  for (const [key, actual] of Object.entries({ batch, seq, micro_batches: microBatches })) {
    const stated = json[key];
    if (stated !== undefined && stated !== actual)
      throw badCase(jsonFile, key, `says ${JSON.stringify(stated)}, inputs/input_ids has ${actual}`);
  }
  return { microBatches, batch, seq };
}

/** An optimizer section with something to check in it, or nothing. */
function readSection(
  tag: string,
  options: OptimizerRun,
  json: ModelCaseJson,
  jsonFile: string,
  tensors: TensorFile,
  inputs: { microBatches: number },
): OptimizerSection[] {
  if (OWN_GROUPS.includes(tag))
    throw badCase(jsonFile, `optimizers.${tag}`, 'this name is taken by another group of tensors');
  const algorithm = options.optimizer ?? ALGORITHMS.find((name) => name === tag);
  if (algorithm === undefined)
    throw badCase(jsonFile, `optimizers.${tag}.optimizer`, `missing, and '${tag}' is none of ${ALGORITHMS.join(', ')}`);
  for (const name of algorithm === 'sgd'
    ? (['betas', 'eps'] as const)
    : (['momentum', 'dampening', 'nesterov'] as const))
    if (options[name] !== undefined && options[name] !== 0 && options[name] !== false)
      throw badCase(jsonFile, `optimizers.${tag}.${name}`, `not a hyper-parameter of ${algorithm}`);
  const decay = decayProblem(algorithm, options);
  if (decay !== undefined) throw badCase(jsonFile, `optimizers.${tag}.decoupled_weight_decay`, decay);
  const losses = list(json, jsonFile, `${tag}_losses`);
  const norms = list(json, jsonFile, `${tag}_norms`);
  if (losses === undefined && norms === undefined && tensors.group(tag).size === 0) return [];
  if (!tensors.has('inputs/labels'))
    throw badCase(tensors.path, 'inputs/labels', `missing: the run '${tag}' needs a loss`);
  const accumulate = options.micro_batches_per_step ?? 1;
  // Where nothing tells the number of steps, the format's own: 3 steps, or 2 of accumulated micro-batches.
  const steps =
    losses !== undefined ? losses.length / accumulate : (norms?.length ?? options.steps ?? (accumulate === 1 ? 3 : 2));
  if (!Number.isInteger(steps) || steps === 0)
    throw badCase(
      jsonFile,
      `scalars.${tag}_losses`,
      `${losses?.length ?? 0} losses do not make whole steps of ${accumulate} micro-batches`,
    );
  if (options.steps !== undefined && options.steps !== steps)
    throw badCase(jsonFile, `optimizers.${tag}.steps`, `says ${options.steps}, the losses make ${steps}`);
  if (norms !== undefined && norms.length !== steps)
    throw badCase(jsonFile, `scalars.${tag}_norms`, `expected one for each of ${steps} steps, found ${norms.length}`);
  if (steps * accumulate > inputs.microBatches)
    throw badCase(
      jsonFile,
      `optimizers.${tag}`,
      `${steps} steps of ${accumulate} micro-batches need ${steps * accumulate}, inputs/input_ids has ${inputs.microBatches}`,
    );
  return [{ tag, algorithm, options, steps, accumulate, losses, norms }];
}

function list(json: ModelCaseJson, jsonFile: string, key: string): number[] | undefined {
  const value = json.scalars[key];
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'number'))
    throw badCase(jsonFile, `scalars.${key}`, 'expected a list of numbers');
  return value;
}

function notesOn(name: string, json: ModelCaseJson, optimizers: readonly OptimizerSection[]): string[] {
  const compared = ['loss', ...optimizers.flatMap(({ tag }) => [`${tag}_losses`, `${tag}_norms`])];
  return [
    ...Object.keys(json.optimizers)
      .filter((tag) => optimizers.every((section) => section.tag !== tag))
      .map(
        (tag) =>
          `${name}: optimizers.${tag} was not run: there are no tensors ${tag}/… and no scalars.${tag}_losses to compare with`,
      ),
    ...Object.keys(json.scalars)
      .filter((key) => !compared.includes(key))
      .map((key) => `${name}: scalars.${key} was not compared: it belongs to no optimizer run`),
  ];
}

/** Every reference tensor must have something to be compared with, and there must be one. */
function checkReferences(read: ModelCase): void {
  const { tensors, json, jsonFile, weights, config } = read;
  const hasLabels = tensors.has('inputs/labels');
  for (const group of ['grads', ...read.optimizers.map((section) => section.tag)])
    for (const [name, tensor] of tensors.parameterGroup(group)) {
      const weight = weights.get(name);
      if (weight === undefined) throw badCase(tensors.path, `${group}/${name}`, `there is no weights/${name}`);
      if (weight.shape.join() !== tensor.shape.join())
        throw badCase(
          tensors.path,
          `${group}/${name}`,
          `expected the shape of the weights, [${weight.shape.join(', ')}], found [${tensor.shape.join(', ')}]`,
        );
    }
  for (const name of tensors.group('forward').keys())
    if (name !== 'logits' && name !== 'last_hidden_state')
      throw badCase(tensors.path, `forward/${name}`, 'expected forward/logits or forward/last_hidden_state');
  checkShape(tensors, 'forward/last_hidden_state', [read.batch, read.seq, config.hiddenSize]);
  checkShape(
    tensors,
    'forward/logits',
    read.head === 'classification' ? [read.batch, config.numLabels] : [read.batch, read.seq, config.vocabSize],
  );
  if (json.scalars['loss'] !== undefined && typeof json.scalars['loss'] !== 'number')
    throw badCase(jsonFile, 'scalars.loss', 'expected a number');
  if (!hasLabels && (json.scalars['loss'] !== undefined || tensors.group('grads').size > 0))
    throw badCase(tensors.path, 'inputs/labels', 'missing, though there is a reference loss or gradient');
  const empty =
    tensors.group('forward').size === 0 && tensors.group('grads').size === 0 && json.scalars['loss'] === undefined;
  if (empty && read.optimizers.length === 0)
    throw badCase(
      jsonFile,
      '(file)',
      `nothing to check: no forward/ or grads/ tensors in ${tensors.path}, no scalars, no optimizer run`,
    );
}

function checkShape(tensors: TensorFile, name: string, expected: readonly number[]): void {
  if (tensors.has(name) && tensors.shape(name).join() !== expected.join())
    throw badCase(
      tensors.path,
      name,
      `expected the shape [${expected.join(', ')}], found [${tensors.shape(name).join(', ')}]`,
    );
}
