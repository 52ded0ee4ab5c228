/** A train-run case: a fine-tuning run on given reviews, in a given order, from given weights. Read and validated in full before it runs. */
import type { StoredTensor } from '@tensorloom/core';
import type { BloomConfig } from '@tensorloom/models';
import { badCase, parseWith } from './case-error.ts';
import { trainRunSchema, type TrainRunJson } from './case-schema.ts';
import { DEFAULT_PAD_ID, readCaseConfig, readWeights } from './case-weights.ts';
import { decayProblem } from './hyper-parameters.ts';
import { TensorFile } from './tensor-file.ts';

/** Tokenized reviews, cut but not padded. */
export interface Reviews {
  readonly ids: readonly Int32Array[];
  readonly labels: Int32Array;
}

export interface TrainRunCase {
  readonly kind: 'train-run';
  readonly name: string;
  readonly jsonFile: string;
  readonly json: TrainRunJson;
  readonly config: BloomConfig;
  readonly padId: number;
  readonly tensors: TensorFile;
  readonly weights: ReadonlyMap<string, StoredTensor>;
  readonly training: Reviews;
  /** Reviews to evaluate on, where the case has them. */
  readonly evaluation: Reviews | undefined;
}

/** @throws TensorloomError `BAD_FILE` naming the file and the key */
export function readTrainRunCase(name: string, jsonFile: string, value: unknown, tensorsFile: string): TrainRunCase {
  const json = parseWith(jsonFile, trainRunSchema, value);
  const decay = decayProblem(json.optimizer.name, json.optimizer);
  if (decay !== undefined) throw badCase(jsonFile, 'optimizer.decoupled_weight_decay', decay);
  const tensors = new TensorFile(tensorsFile);
  try {
    const config = readCaseConfig(jsonFile, json.config, tensors);
    const weights = readWeights(jsonFile, config, tensors);
    if (!weights.has('score.weight'))
      throw badCase(
        tensorsFile,
        'weights/score.weight',
        'missing: a run on labelled reviews needs a classification head',
      );
    const microBatches = json.steps * json.accumulate;
    if (json.losses.length !== microBatches)
      throw badCase(
        jsonFile,
        'losses',
        `expected ${json.steps} steps × ${json.accumulate} micro-batches = ${microBatches}, found ${json.losses.length}`,
      );
    const training = readReviews(tensors, 'inputs', config);
    const needed = (microBatches - 1) * json.micro_batch + 1;
    if (training.ids.length < needed)
      throw badCase(
        tensorsFile,
        'inputs/lengths',
        `${microBatches} micro-batches of ${json.micro_batch} need at least ${needed} reviews, found ${training.ids.length}`,
      );
    const evaluation = tensors.has('eval/ids') ? readReviews(tensors, 'eval', config) : undefined;
    for (const key of ['eval_accuracy_before', 'eval_accuracy_after'] as const)
      if (json[key] !== undefined && evaluation === undefined)
        throw badCase(tensorsFile, 'eval/ids', `missing, though ${jsonFile} has ${key}`);
    return {
      kind: 'train-run',
      name,
      jsonFile,
      json,
      config,
      padId: config.padTokenId ?? DEFAULT_PAD_ID,
      tensors,
      weights,
      training,
      evaluation,
    };
  } catch (error) {
    tensors.close();
    throw error;
  }
}

function readReviews(tensors: TensorFile, group: 'inputs' | 'eval', config: BloomConfig): Reviews {
  const all = tensors.readIntegers(`${group}/ids`);
  const lengths = tensors.readIntegers(`${group}/lengths`);
  const labels = tensors.readIntegers(`${group}/labels`);
  if (labels.length !== lengths.length)
    throw badCase(tensors.path, `${group}/labels`, `${labels.length} labels for ${lengths.length} reviews`);
  const ids: Int32Array[] = [];
  let start = 0;
  for (const [index, length] of lengths.entries()) {
    if (length < 1 || start + length > all.length)
      throw badCase(
        tensors.path,
        `${group}/lengths`,
        `review ${index} has length ${length}, ${group}/ids has ${all.length - start} ids left`,
      );
    ids.push(all.subarray(start, start + length));
    start += length;
  }
  if (start !== all.length)
    throw badCase(tensors.path, `${group}/lengths`, `the lengths add up to ${start}, ${group}/ids has ${all.length}`);
  const outside = all.find((id) => id < 0 || id >= config.vocabSize);
  if (outside !== undefined)
    throw badCase(tensors.path, `${group}/ids`, `id ${outside} is outside the vocabulary of ${config.vocabSize}`);
  const badLabel = labels.find((label) => label < 0 || label >= config.numLabels);
  if (badLabel !== undefined)
    throw badCase(tensors.path, `${group}/labels`, `label ${badLabel} is none of ${config.numLabels}`);
  return { ids, labels };
}
