/** Texts to packed ids, on all cores, with progress. */
import type { TextSplit, TextSplits } from '../sources/text-splits.ts';
import { TokenizedSplit, type TextClassificationData } from './tokenized-split.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Options of `tokenizeSplits`. */
export interface TokenizeOptions {
  /** Keep only the first `maxLength` tokens of each text. */
  readonly maxLength: number;
  /** Called now and then with the texts done and their total, over all splits. */
  readonly onProgress?: (done: number, total: number) => void;
}

// Large enough that the threads of one call are busy, small enough for smooth progress and little memory.
const TEXTS_PER_CALL = 512;
// While the main thread copies the ids of one call, the library's threads work on the next.
const CALLS_IN_FLIGHT = 2;

/** Tokenizes all splits. No cache: see `prepareTextData`. */
export async function tokenizeSplits(
  splits: TextSplits,
  tokenizer: Tokenizer,
  options: TokenizeOptions,
): Promise<TextClassificationData> {
  const total = splits.train.texts.length + splits.validation.texts.length + splits.test.texts.length;
  let done = 0;
  const onTexts = (count: number): void => options.onProgress?.((done += count), total);
  const { name, labelNames, task } = splits;
  const train = await tokenizeSplit(splits.train, tokenizer, options.maxLength, onTexts);
  const validation = await tokenizeSplit(splits.validation, tokenizer, options.maxLength, onTexts);
  const test = await tokenizeSplit(splits.test, tokenizer, options.maxLength, onTexts);
  return { name, labelNames, task, train, validation, test };
}

async function tokenizeSplit(
  split: TextSplit,
  tokenizer: Tokenizer,
  maxLength: number,
  onTexts: (count: number) => void,
): Promise<TokenizedSplit> {
  const { texts, labels } = split;
  const encoded = new Array<Int32Array>(texts.length);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < texts.length) {
      const start = next;
      next += TEXTS_PER_CALL;
      const ids = await tokenizer.encodeBatch(texts.slice(start, start + TEXTS_PER_CALL), { maxLength });
      ids.forEach((text, i) => (encoded[start + i] = text));
      onTexts(ids.length);
    }
  };
  await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, lane));
  return pack(encoded, labels, tokenizer.vocabSize);
}

function pack(texts: readonly Int32Array[], labels: Int32Array | Float32Array, vocabSize: number): TokenizedSplit {
  const offsets = new Int32Array(texts.length + 1);
  texts.forEach((text, i) => (offsets[i + 1] = (offsets[i] as number) + text.length));
  const count = offsets[texts.length] as number;
  const ids = vocabSize <= 2 ** 16 ? new Uint16Array(count) : new Int32Array(count);
  texts.forEach((text, i) => ids.set(text, offsets[i]));
  return new TokenizedSplit(ids, offsets, labels);
}
