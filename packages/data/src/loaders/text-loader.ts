/** The loaders of training and evaluation over tokenized texts, with the defaults that suit them. */
import type { TokenizedSplit } from '../tokenization/tokenized-split.ts';
import { LengthBucketedSampler } from '../samplers/length-bucketed.ts';
import { LengthSortedSampler } from '../samplers/length-sorted.ts';
import { RandomSampler, SequentialSampler, type Sampler } from '../samplers/sampler.ts';
import { DataLoader } from './data-loader.ts';
import { textCollator, type TextBatch, type TextCollateOptions, type TokenizedText } from './text-batch.ts';

/** Options of `createTextLoader`. */
export interface TextLoaderOptions extends TextCollateOptions {
  readonly batchSize: number;
  /** Training shuffles, by `seed`; evaluation (default) has a fixed order. */
  readonly training?: boolean;
  readonly seed?: number;
  /**
   * Batches of similar length (default true): training shuffles within buckets, evaluation goes from the longest to the shortest.
   * False: a plain shuffle, and the data set's own order. Of no use, and not done, for evaluation with batches of one.
   */
  readonly bucketing?: boolean;
  /** Micro-batches of one optimizer step over all ranks (default 1): see `LengthBucketedOptions`. */
  readonly batchesPerStep?: number;
  readonly dropLast?: boolean;
  readonly prefetch?: number;
}

/** A loader over `split` that pads each batch as `options` say. */
export function createTextLoader(
  split: TokenizedSplit,
  options: TextLoaderOptions,
): DataLoader<TokenizedText, TextBatch> {
  return new DataLoader<TokenizedText, TextBatch>(split, {
    batchSize: options.batchSize,
    sampler: samplerFor(split, options),
    collate: textCollator(options),
    ...(options.dropLast === undefined ? {} : { dropLast: options.dropLast }),
    ...(options.prefetch === undefined ? {} : { prefetch: options.prefetch }),
  });
}

function samplerFor(split: TokenizedSplit, options: TextLoaderOptions): Sampler {
  const { batchSize, training = false, seed = 0, bucketing = true, batchesPerStep = 1 } = options;
  if (training)
    return bucketing
      ? new LengthBucketedSampler(split.lengths(), { batchSize, seed, batchesPerStep })
      : new RandomSampler(split.length, { seed });
  return bucketing && batchSize > 1 ? new LengthSortedSampler(split.lengths()) : new SequentialSampler(split.length);
}
