/** Data, tokenizer, model and loaders of a training run, in the order in which they depend on each other. */
import { existsSync } from 'node:fs';
import { TensorloomError, type Fabric } from '@tensorloom/core';
import type { TextClassificationData, TextSource } from '@tensorloom/data';
import type { BloomForSequenceClassification, ResolvedModel } from '@tensorloom/models';
import type { RunConfig } from '../config/schema.ts';
import type { Progress } from '../run/progress.ts';
import type { RunFolder } from '../run/run-folder.ts';
import {
  chooseTokenizer,
  digestOf,
  openSource,
  paddingSideOf,
  readTokenizer,
  saveTokenizer,
  tokenizeSource,
} from './data.ts';
import { createEvaluationLoader, createTrainLoader, evaluated, type TextDataLoader } from './loaders.ts';
import { createClassifier, folderOf, locateModel } from './model.ts';

export interface PreparedRun {
  readonly data: TextClassificationData;
  /** Of the training part. */
  readonly dataDigest: string;
  readonly model: BloomForSequenceClassification;
  readonly trainLoader: TextDataLoader;
  readonly validationLoader: TextDataLoader;
  readonly testLoader: TextDataLoader;
  readonly paddingSide: 'left' | 'right';
  /** Folder with the tokenizer's files. */
  readonly tokenizerPath: string;
}

/** What a run reads: found, and downloaded where it must be, but not read yet. */
export interface RunInputs {
  readonly model: ResolvedModel;
  readonly source: TextSource;
}

/** @throws TensorloomError for a name or path that is wrong: the mistakes to be told before anything else is */
export async function findInputs(config: RunConfig, progress: Progress): Promise<RunInputs> {
  const model = await locateModel(config.model, progress);
  if (config.tokenizer !== undefined) await readTokenizer(config.tokenizer);
  return { model, source: await openSource(config, progress) };
}

/** Seed first: fresh weights come from the global generator. Rank zero fills the run folder, where the others find the tokenizer. */
export async function prepareRun(
  inputs: RunInputs,
  config: RunConfig,
  folder: RunFolder,
  fabric: Pick<Fabric, 'isGlobalZero' | 'shardedModel' | 'worldSize'>,
  progress: Progress,
): Promise<PreparedRun> {
  const { model: located, source } = inputs;
  const modelFolder = folderOf(located);
  // A run that is resumed has its tokenizer in its folder, and so it is for ranks that come after rank zero.
  const asked = existsSync(folder.tokenizer) ? folder.tokenizer : config.tokenizer;
  const chosen = await chooseTokenizer(
    { tokenizer: asked, vocabularySize: config.vocabularySize },
    modelFolder,
    source,
    progress,
  );
  const { tokenizer } = chosen;
  if (fabric.isGlobalZero) await saveTokenizer(chosen, folder.tokenizer);
  progress.line(`tokenizer: ${chosen.origin}`);

  const whole = await tokenizeSource(source, tokenizer, config.maxLength, progress);
  const data = {
    ...whole,
    validation: evaluated(whole.validation, config),
    test: evaluated(whole.test, config),
  };
  if (data.task !== 'classification')
    throw new TensorloomError(
      'UNSUPPORTED',
      `--data=${config.data} is a regression; the command line trains classifiers.`,
    );
  progress.line(
    `data: ${data.name}, ${data.train.length} train / ${data.validation.length} validation / ${data.test.length} test texts, labels ${data.labelNames.join(', ')}`,
  );
  for (const part of ['train', 'validation', 'test'] as const)
    if (data[part].length === 0) throw new TensorloomError('BAD_DATA', `The ${part} part of ${data.name} is empty.`);

  const model = fabric.shardedModel(() => createClassifier(located, tokenizer, data.labelNames, config, progress));
  const paddingSide = config.paddingSide ?? paddingSideOf(folder.tokenizer);
  const padding = { padId: model.config.padTokenId ?? tokenizer.padId, paddingSide };
  return {
    data,
    dataDigest: digestOf(data.train),
    model,
    trainLoader: createTrainLoader(data.train, config, padding, fabric.worldSize),
    validationLoader: createEvaluationLoader(data.validation, config, padding),
    testLoader: createEvaluationLoader(data.test, config, padding),
    paddingSide,
    tokenizerPath: folder.tokenizer,
  };
}
