/** The loaders of training and evaluation over tokenized texts, with the defaults that suit them. */
import type { TokenizedSplit } from '../tokenization/tokenized-split.ts';
import { LengthBucketedSampler } from '../samplers/length-bucketed.ts';
import { RandomSampler, SequentialSampler } from '../samplers/sampler.ts';
import { DataLoader } from './data-loader.ts';
import { textCollator, type TextBatch, type TextCollateOptions, type TokenizedText } from './text-batch.ts';

export interface TextLoaderOptions extends TextCollateOptions {
  readonly batchSize: number;
  /** Training shuffles; evaluation (default) goes in order. */
  readonly training?: boolean;
  readonly seed?: number;
  /** In training, batches of similar length (default true); false: a plain shuffle. */
  readonly bucketing?: boolean;
  readonly dropLast?: boolean;
  readonly prefetch?: number;
}

export function createTextLoader(split: TokenizedSplit, options: TextLoaderOptions): DataLoader<TokenizedText, TextBatch> {
  const { batchSize, training = false, seed = 0, bucketing = true } = options;
  const sampler = !training
    ? new SequentialSampler(split.length)
    : bucketing
      ? new LengthBucketedSampler(split.lengths(), { batchSize, seed })
      : new RandomSampler(split.length, { seed });
  return new DataLoader<TokenizedText, TextBatch>(split, {
    batchSize,
    sampler,
    collate: textCollator(options),
    ...(options.dropLast === undefined ? {} : { dropLast: options.dropLast }),
    ...(options.prefetch === undefined ? {} : { prefetch: options.prefetch }),
  });
}
