/** A model that was trained already, for evaluation and prediction: from a run folder, a model folder or the hub. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TensorloomError, type Fabric } from '@tensorloom/core';
import type { Tokenizer } from '@tensorloom/data';
import { loadModelFolder, readConfig, type BloomConfig, type BloomForSequenceClassification } from '@tensorloom/models';
import type { PartialRunConfig } from '../config/schema.ts';
import type { Progress } from '../run/progress.ts';
import { readRecordedConfig } from '../run/resume.ts';
import { RunFolder } from '../run/run-folder.ts';
import { paddingSideOf, readTokenizer } from './data.ts';
import { launchInferenceFabric } from './fabric.ts';
import { folderOf, locateModel, tellUnused } from './model.ts';

export interface TrainedModel {
  readonly model: BloomForSequenceClassification;
  readonly tokenizer: Tokenizer;
  readonly padding: { readonly padId: number; readonly paddingSide: 'left' | 'right' };
  readonly maxLength: number;
  readonly labelNames: readonly string[];
}

/** The options that a run folder recorded; none for any other model. */
export function recordedOptions(spec: string): PartialRunConfig {
  return existsSync(join(spec, 'model', 'config.json')) ? readRecordedConfig(new RunFolder(spec)).options : {};
}

/**
 * Loads a classifier with its tokenizer onto the accelerator of a Fabric launched for inference.
 * @param flags what the command line gives; it wins over what the run folder recorded
 * @throws TensorloomError `BAD_OPTION` for a preset, which has no trained weights, `UNSUPPORTED` for a model that does not tell apart labels of
 *   which a text has one, and `BAD_CHECKPOINT` for a model without a trained head
 */
export async function openTrainedModel(
  spec: string,
  flags: PartialRunConfig,
  progress: Progress,
): Promise<{ readonly fabric: Fabric; readonly trained: TrainedModel }> {
  const fabric = await launchInferenceFabric(flags);
  const folder = folderOf(await locateModel(spec, progress));
  if (folder === undefined)
    throw new TensorloomError(
      'BAD_OPTION',
      `--model=${spec} is a preset, which has no trained weights. Give a run folder, a model folder or a hub id.`,
    );
  requireOneLabelPerText(readConfig(folder), folder);
  const { model, config, report } = loadModelFolder(folder, 'sequence-classification');
  if (report.freshlyInitialized.length > 0)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `${folder} has no trained classification head (${report.freshlyInitialized.join(', ')}): train it first.`,
    );
  tellUnused(report, folder);
  const { tokenizer, folder: tokenizerFolder } = await readTokenizer(flags.tokenizer ?? folder);
  const paddingSide = flags.paddingSide ?? paddingSideOf(tokenizerFolder ?? folder);
  const ready = await fabric.setupModule(model);
  ready.eval();
  const trained = {
    model: ready,
    tokenizer,
    padding: { padId: config.padTokenId ?? tokenizer.padId, paddingSide },
    maxLength: flags.maxLength ?? recordedOptions(spec).maxLength ?? config.maxLength ?? 1024,
    labelNames: config.labelNames,
  };
  return { fabric, trained };
}

/** Probabilities by softmax, accuracy and labels mean nothing where the outputs are values, or labels that can hold together. */
function requireOneLabelPerText(config: BloomConfig, folder: string): void {
  // As transformers decides where the configuration does not say: one output is a value.
  const problem = config.problemType ?? (config.numLabels === 1 ? 'regression' : 'single_label_classification');
  if (problem === 'single_label_classification' && config.numLabels > 1) return;
  const outputs = `${config.numLabels} ${config.numLabels === 1 ? 'output' : 'outputs'}`;
  throw new TensorloomError(
    'UNSUPPORTED',
    `${folder} is a model for ${problem} (${outputs}); predict and evaluate need single_label_classification with at least 2 labels. In TypeScript, loadPretrained of @tensorloom/models gives such a model and its logits.`,
  );
}
