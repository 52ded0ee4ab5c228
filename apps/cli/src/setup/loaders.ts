/** The loaders of a run over tokenized data. */
import type { FabricDataLoader } from '@tensorloom/core';
import {
  createTextLoader,
  DataLoader,
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

/** @param worldSize ranks that take their micro-batches from it: of several, each shall have about the same work in a step */
export function createTrainLoader(
  split: TokenizedSplit,
  config: Pick<RunConfig, 'microBatchSize' | 'accumulate' | 'seed' | 'bucketing' | 'padding' | 'maxLength'>,
  padding: Padding,
  worldSize: number,
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
    batchesPerStep: worldSize === 1 ? 1 : config.accumulate,
  });
}

/**
 * Counts the micro-batches of all ranks and epochs up to the one delivered last, as one rank would count them.
 * @param batches this rank's share of `whole`
 */
export function progressOver(batches: FabricDataLoader<TextBatch>, whole: TextDataLoader): () => number {
  const share = batches.inner;
  if (!(share instanceof DataLoader)) throw new TypeError('The share of a DataLoader is a DataLoader.');
  const perEpoch = whole.length as number;
  return () => share.epoch * perEpoch + Math.ceil(share.itemsConsumed / whole.batchSize);
}

/** What is evaluated of a part: its first `evalLimit` texts, or all. */
export function evaluated(
  split: TokenizedSplit,
  { evalLimit = split.length }: Pick<RunConfig, 'evalLimit'>,
): TokenizedSplit {
  return split.take(evalLimit);
}

/** Visits each text once, texts of similar length together: counts do not depend on the order. */
export function createEvaluationLoader(
  split: TokenizedSplit,
  config: Pick<RunConfig, 'evalBatchSize' | 'maxLength'>,
  padding: Padding,
): TextDataLoader {
  return createTextLoader(split, { ...padding, batchSize: config.evalBatchSize, maxLength: config.maxLength });
}
