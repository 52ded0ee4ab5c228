/** From `--model` to a classifier: fresh weights of a preset, or pretrained ones from a folder, a run folder or the hub. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TensorloomError, tf, type StoredState } from '@tensorloom/core';
import {
  buildModel,
  loadModelFolder,
  readConfig,
  resolveModel,
  saveModelFolder,
  withConfig,
  type BloomConfig,
  type BloomForSequenceClassification,
  type LoadReport,
  type ResolvedModel,
} from '@tensorloom/models';
import type { Tokenizer } from '@tensorloom/data';
import type { RunConfig } from '../config/schema.ts';
import type { Progress } from '../run/progress.ts';

/** Finds the model, downloading it where it must be; nothing is built yet. A run folder stands for the model in it. */
export async function locateModel(spec: string, progress: Progress): Promise<ResolvedModel> {
  const model = existsSync(join(spec, 'model', 'config.json')) ? join(spec, 'model') : spec;
  const located = await resolveModel(model, {
    onProgress: ({ file, bytes, totalBytes }) => progress.counting(`download ${file}, bytes`, bytes, totalBytes),
  });
  progress.stop();
  return located;
}

/** The folder of a model that brings weights, undefined for a preset. */
export function folderOf(located: ResolvedModel): string | undefined {
  return located.kind === 'preset' ? undefined : located.folder;
}

export type ModelOptions = Pick<Partial<RunConfig>, 'hiddenSize' | 'layers' | 'heads' | 'dropout'> &
  Pick<RunConfig, 'maxLength'>;

/**
 * Builds a preset with the vocabulary of the tokenizer, or loads pretrained weights; the head fits the labels of the data, by name.
 * Draws from the global random generator: seed first.
 * @throws TensorloomError `BAD_OPTION` if the tokenizer has ids that the model does not
 */
export function createClassifier(
  located: ResolvedModel,
  tokenizer: Tokenizer,
  labelNames: readonly string[],
  options: ModelOptions,
  progress: Progress,
): BloomForSequenceClassification {
  const dropout =
    options.dropout === undefined ? {} : { hiddenDropout: options.dropout, attentionDropout: options.dropout };
  if (located.kind === 'preset')
    return buildModel(
      'sequence-classification',
      freshConfig(located.preset.config, tokenizer, labelNames, { ...options }, dropout),
    );
  const stored = readConfig(located.folder);
  const head = headFor(stored.labelNames, labelNames);
  const { model, config, report } = loadModelFolder(located.folder, 'sequence-classification', {
    config: {
      numLabels: labelNames.length,
      labelNames,
      ...(stored.problemType === undefined ? {} : { problemType: 'single_label_classification' }),
      ...dropout,
    },
    ignoreMismatchedHead: true,
    freshHead: head === 'fresh',
  });
  if (tokenizer.vocabSize > config.vocabSize) {
    model.dispose();
    throw new TensorloomError(
      'BAD_OPTION',
      `The tokenizer has ${tokenizer.vocabSize} entries, the model in ${located.folder} only ${config.vocabSize}: they do not belong together. Leave out --tokenizer.`,
    );
  }
  tellUnused(report, located.folder);
  const initialized = report.freshlyInitialized.join(', ');
  if (initialized !== '')
    progress.line(
      head === 'fresh' || stored.labelNames.length !== labelNames.length
        ? `initialized afresh: ${initialized}; the model in ${located.folder} tells apart [${stored.labelNames.join(', ')}], the data has [${labelNames.join(', ')}]`
        : `initialized afresh, not in ${located.folder}: ${initialized}`,
    );
  else if (typeof head !== 'string') {
    model.score.weight.assign(tf.tidy(() => tf.gather(model.score.weight.value, [...head])));
    progress.line(`label order of ${located.folder} changed to that of the data: ${labelNames.join(', ')}`);
  }
  return model;
}

/**
 * What becomes of a stored head: rows in another order where the data has the same labels in another order, a fresh one where it has
 * other labels. Models without names (LABEL_0, …) are taken to agree.
 */
function headFor(stored: readonly string[], wanted: readonly string[]): 'as it is' | 'fresh' | readonly number[] {
  if (stored.every((name, index) => name === `LABEL_${index}`)) return 'as it is';
  if (stored.length !== wanted.length || !wanted.every((name) => stored.includes(name))) return 'fresh';
  return wanted.every((name, index) => name === stored[index])
    ? 'as it is'
    : wanted.map((name) => stored.indexOf(name));
}

/**
 * Says on standard error which weights of a folder the classifier has no place for: they may be what makes another model of it.
 * The head of a language model is expected, and not told.
 */
export function tellUnused(report: LoadReport, folder: string): void {
  const names = report.unused.filter((name) => name !== 'lm_head.weight');
  if (names.length === 0) return;
  const more = names.length > 8 ? `, and ${names.length - 8} more` : '';
  process.stderr.write(`not used, of the weights in ${folder}: ${names.slice(0, 8).join(', ')}${more}\n`);
}

/**
 * Writes the model with its tokenizer as a Hugging Face folder.
 * @param whole its weights: the model itself may hold shards only
 */
export async function saveFinalModel(
  folder: string,
  run: {
    readonly model: BloomForSequenceClassification;
    readonly tokenizerPath: string;
    readonly paddingSide: 'left' | 'right';
  },
  whole: StoredState,
): Promise<void> {
  const { model, tokenizerPath: tokenizer, paddingSide } = run;
  await saveModelFolder(folder, model, { tokenizer, paddingSide, state: whole });
}

function freshConfig(
  preset: BloomConfig,
  tokenizer: Tokenizer,
  labelNames: readonly string[],
  options: ModelOptions,
  dropout: Partial<BloomConfig>,
): BloomConfig {
  return withConfig(
    preset,
    {
      ...(options.hiddenSize === undefined ? {} : { hiddenSize: options.hiddenSize }),
      ...(options.layers === undefined ? {} : { numLayers: options.layers }),
      ...(options.heads === undefined ? {} : { numHeads: options.heads }),
      ...dropout,
      vocabSize: tokenizer.vocabSize,
      padTokenId: tokenizer.padId,
      bosTokenId: tokenizer.tokenToId('<s>') ?? null,
      eosTokenId: tokenizer.tokenToId('</s>') ?? null,
      numLabels: labelNames.length,
      labelNames,
      maxLength: options.maxLength,
    },
    'the model options',
  );
}
