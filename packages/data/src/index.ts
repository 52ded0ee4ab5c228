/** The public surface of @tensorloom/data. */
import './sources/built-in.ts';

export { openTextSource, registerTextSource, textSourceNames } from './sources/text-splits.ts';
export type { TextSource, TextSourceOpener, TextSourceOptions, TextSplit, TextSplits } from './sources/text-splits.ts';
export { openImdb, IMDB_DOWNLOAD } from './sources/imdb/imdb.ts';
export { openQuickstart } from './sources/quickstart.ts';
export { blogPartition, standardPartition, type ImdbPartition } from './sources/imdb/splits.ts';
export { listImdbReviews } from './sources/imdb/list.ts';
export { Tokenizer, type EncodeLimits } from './tokenization/tokenizer.ts';
export {
  bloomTokenizerFor,
  trainBloomTokenizer,
  BLOOM_SPECIAL_TOKENS,
  type CachedTrainingOptions,
  type TrainBloomTokenizerOptions,
} from './tokenization/bloom-tokenizer.ts';
export { tokenizeSplits, type TokenizeOptions } from './tokenization/tokenize-splits.ts';
export { prepareTextData, type PrepareOptions } from './tokenization/prepare.ts';
export { TokenizedSplit, type TextClassificationData } from './tokenization/tokenized-split.ts';
export { DataLoader, type DataLoaderOptions } from './loaders/data-loader.ts';
export type { Collate } from './loaders/batches.ts';
export type { Share } from './loaders/rounds.ts';
export { isIterableDataSet, type DataSet, type IterableDataSet, type MapDataSet } from './loaders/data-set.ts';
export { textCollator, type TextBatch, type TextCollateOptions, type TokenizedText } from './loaders/text-batch.ts';
export { createTextLoader, type TextLoaderOptions } from './loaders/text-loader.ts';
export { RandomSampler, SequentialSampler, type Sampler } from './samplers/sampler.ts';
export { LengthBucketedSampler, type LengthBucketedOptions } from './samplers/length-bucketed.ts';
export { LengthSortedSampler } from './samplers/length-sorted.ts';
export { legacyPermutation } from './random/numpy-legacy.ts';
export { defaultCacheDir } from './files/cache-folder.ts';
export { downloadFile, type DownloadOptions } from './files/download.ts';
