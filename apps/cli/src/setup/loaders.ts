/** The loaders of a run over tokenized data. */
import { createTextLoader, LengthBucketedSampler, type DataLoader, type TextBatch, type TokenizedSplit, type TokenizedText } from '@tensorloom/data';
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
  return createTextLoader(split, { ...padding, batchSize, seed, bucketing, maxLength, padding: config.padding, training: true });
}

/** Visits each text once, the short ones first: no padding is computed that need not be, and counts do not depend on the order. */
export function createEvaluationLoader(split: TokenizedSplit, config: Pick<RunConfig, 'evalBatchSize' | 'maxLength'>, padding: Padding): TextDataLoader {
  const batchSize = config.evalBatchSize;
  const inOrder = createTextLoader(split, { ...padding, batchSize, maxLength: config.maxLength });
  return inOrder.withSampler(new LengthBucketedSampler(split.lengths(), { batchSize, windowBatches: Math.ceil(split.length / batchSize) || 1 }));
}
