/** Trains a tokenizer of BLOOM's pipeline (byte-level BPE with BLOOM's pre-tokenization) on texts of one's own. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { byteLevelAlphabet } from 'tokenizers';
import { TensorloomError, writeFileAtomically } from '@tensorloom/core';
import { contentKey, defaultCacheDir } from '../files/cache-folder.ts';
import type { TextSource } from '../sources/text-splits.ts';
import { trainByteLevelBpe } from './train-bpe.ts';
import { Tokenizer } from './tokenizer.ts';
import { reasonOf } from '../files/reason.ts';

/** Ids 0 to 3. */
export const BLOOM_SPECIAL_TOKENS = ['<unk>', '<s>', '</s>', '<pad>'] as const;

/** Options of `trainBloomTokenizer`. */
export interface TrainBloomTokenizerOptions {
  /** Number of tokens: 4 special ones, 256 bytes, and merges. Default 8192. Small texts may have fewer merges than that. */
  readonly vocabSize?: number;
}

/** Smallest vocabulary: the special tokens and every byte. */
const BASE_SIZE = BLOOM_SPECIAL_TOKENS.length + 256;

// The pipeline of bigscience/bloom's tokenizer.json, as the `tokenizers` library saves it.
const PIPELINE = {
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: ' ?[^(\\s|[.,!?…。，、।۔،])]+' }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  },
  post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: false },
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
};

// The library trains on the lines of a file, each with its line feed, which would end up in the counts (".\n" instead of "."). So a text is one
// line, and a normalizer that serves for training only drops the line's end and puts the text's own line feeds back.
const NEWLINE_STAND_IN = '\u{10ffff}';
const ONE_TEXT_PER_LINE = {
  type: 'Sequence',
  normalizers: [
    { type: 'Replace', pattern: { String: '\n' }, content: '' },
    { type: 'Replace', pattern: { String: NEWLINE_STAND_IN }, content: '\n' },
  ],
};

/**
 * Trains on `texts`. Special tokens <unk> <s> </s> <pad> are ids 0..3, then every byte, then the merges in order of frequency. The same
 * texts give the same tokenizer.
 * @throws TensorloomError `BAD_OPTION` if `vocabSize` is out of range, `BAD_DATA` without texts
 */
export async function trainBloomTokenizer(
  texts: readonly string[],
  options: TrainBloomTokenizerOptions = {},
): Promise<Tokenizer> {
  const { vocabSize = 8192 } = options;
  if (!Number.isInteger(vocabSize) || vocabSize < BASE_SIZE)
    throw new TensorloomError(
      'BAD_OPTION',
      `trainBloomTokenizer: vocabSize ${vocabSize}; expected a whole number of at least ${BASE_SIZE} (special tokens and bytes).`,
    );
  if (texts.length === 0) throw new TensorloomError('BAD_DATA', 'trainBloomTokenizer: no texts to train on.');
  const folder = await mkdtemp(join(tmpdir(), 'tensorloom-bpe-'));
  try {
    const textFile = join(folder, 'texts.txt');
    await writeFile(textFile, texts.map((text) => text.replaceAll('\n', NEWLINE_STAND_IN)).join('\n'));
    const untrained = {
      version: '1.0',
      ...frame([]),
      normalizer: ONE_TEXT_PER_LINE,
      ...PIPELINE,
      model: { ...BPE, vocab: {}, merges: [] },
    };
    const trained = await trainByteLevelBpe(JSON.stringify(untrained), textFile, join(folder, 'trained.json'));
    const { merges, limit } = trained;
    if (BASE_SIZE + merges.length < vocabSize && merges.length >= limit)
      throw new TensorloomError(
        'BAD_OPTION',
        `trainBloomTokenizer: vocabSize ${vocabSize}; the library trains at most ${BASE_SIZE + limit} tokens on these texts.`,
      );
    return Tokenizer.fromJson(assemble(merges, vocabSize));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Options of `bloomTokenizerFor`. */
export interface CachedTrainingOptions extends TrainBloomTokenizerOptions {
  /** Default: `defaultCacheDir()`; `false` neither reads nor writes a cache. */
  readonly cacheDir?: string | false;
  /** Told the number of texts before a training starts: 35,000 reviews take some ten seconds. */
  readonly onTrain?: (texts: number) => void;
  /** Told when a damaged cache file is made anew, or none can be written. */
  readonly notify?: (message: string) => void;
}

/** The tokenizer trained on the training part of `source`, from the cache where it has been trained before. */
export async function bloomTokenizerFor(source: TextSource, options: CachedTrainingOptions = {}): Promise<Tokenizer> {
  const { cacheDir = defaultCacheDir(), vocabSize = 8192, notify = () => {} } = options;
  const train = async (): Promise<Tokenizer> => {
    const { texts } = (await source.read()).train;
    options.onTrain?.(texts.length);
    return trainBloomTokenizer(texts, { vocabSize });
  };
  if (cacheDir === false) return train();
  const path = join(
    cacheDir,
    'tokenizers',
    `${source.name}-${vocabSize}-${contentKey('bloom-bpe', source.fingerprint, vocabSize)}.json`,
  );
  const cached = await readFile(path, 'utf8').catch(() => undefined);
  if (cached !== undefined) {
    try {
      return Tokenizer.fromJson(cached, path);
    } catch (error) {
      notify(`The cached tokenizer ${path} is damaged (${reasonOf(error)}); it is trained anew.`);
    }
  }
  const tokenizer = await train();
  await writeFileAtomically(path, tokenizer.toJson()).catch((error: unknown) =>
    notify(`The tokenizer is not cached. ${reasonOf(error)}`),
  );
  return tokenizer;
}

const BPE = {
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
};

function frame(specialTokens: readonly string[]): object {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added = specialTokens.map((content, id) => ({ id, content, ...flags }));
  return { truncation: null, padding: null, added_tokens: added, normalizer: null };
}

/** Merges are ordered by frequency, so that the first of them are those of a smaller vocabulary. */
function assemble(merges: readonly (readonly [string, string])[], vocabSize: number): string {
  const alphabet = byteLevelAlphabet().sort((a, b) => (a.codePointAt(0) as number) - (b.codePointAt(0) as number));
  const vocab = new Map<string, number>();
  for (const token of [...BLOOM_SPECIAL_TOKENS, ...alphabet]) vocab.set(token, vocab.size);
  let used = 0;
  for (const [left, right] of merges) {
    if (vocab.size >= vocabSize) break;
    used++;
    // Two merges may make the same token.
    if (!vocab.has(left + right)) vocab.set(left + right, vocab.size);
  }
  // A JavaScript object would put tokens such as "12" first: the text is put together in the order of the ids.
  const entries = [...vocab].map(([token, id]) => `${JSON.stringify(token)}:${id}`).join(',');
  const outer = JSON.stringify({ version: '1.0', ...frame(BLOOM_SPECIAL_TOKENS), ...PIPELINE });
  const inner = JSON.stringify(BPE).slice(0, -1);
  return `${outer.slice(0, -1)},"model":${inner},"vocab":{${entries}},"merges":${JSON.stringify(merges.slice(0, used))}}}`;
}
