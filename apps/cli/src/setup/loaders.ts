/** The loaders of a run over tokenized data. */
import {
  createTextLoader,
  type DataLoader,
  type TextBatch,
  type TokenizedSplit,
  type TokenizedText,
} from '@tensorloom/data';
import type { RunConfig } from '../config/schema.ts';

export interface Padding {
  readonly padId: number;
  readonly paddingSide: 'left' | 'right';
}

export type TextDataLoader = DataLoader<TokenizedText, TextBatch>;

export function createTrainLoader(
  split: TokenizedSplit,
  config: Pick<RunConfig, 'microBatchSize' | 'seed' | 'bucketing' | 'padding' | 'maxLength'>,
  padding: Padding,
): TextDataLoader {
  const { microBatchSize: batchSize, seed, bucketing, maxLength } = config;
  return createTextLoader(split, {
    ...padding,
    batchSize,
    seed,
    bucketing,
    maxLength,
    padding: config.padding,
    training: true,
  });
}

/** Visits each text once, texts of similar length together: counts do not depend on the order. */
export function createEvaluationLoader(
  split: TokenizedSplit,
  config: Pick<RunConfig, 'evalBatchSize' | 'maxLength'>,
  padding: Padding,
): TextDataLoader {
  return createTextLoader(split, { ...padding, batchSize: config.evalBatchSize, maxLength: config.maxLength });
}
