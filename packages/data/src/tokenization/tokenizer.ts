/** Any Hugging Face tokenizer.json, over the Rust library of Hugging Face. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Tokenizer as NativeTokenizer } from 'tokenizers';
import { TensorloomError, writeFileAtomically } from '@tensorloom/core';
import { reasonOf } from '../files/reason.ts';

/** Limits of `encode` and `encodeBatch`. */
export interface EncodeLimits {
  /** Keep only the first `maxLength` ids. */
  readonly maxLength?: number;
}

// In order of preference where a tokenizer does not say which of its tokens pads.
const PAD_TOKENS = ['<pad>', '[PAD]', '<|pad|>', '<|padding|>', '<|finetune_right_pad_id|>'];
const END_TOKENS = ['</s>', '<|endoftext|>', '<|end_of_text|>', '<eos>'];

/** Text to ids and back; made by `fromFile` or `fromJson`. */
export class Tokenizer {
  /** SHA-256 of the tokenizer.json, for cache keys. */
  readonly hash: string;
  readonly #native: NativeTokenizer;
  readonly #json: string;

  private constructor(native: NativeTokenizer, json: string) {
    this.#native = native;
    this.#json = json;
    this.hash = createHash('sha256').update(json).digest('hex');
  }

  /** @throws TensorloomError `BAD_FILE` if the file cannot be read or is no tokenizer.json */
  static async fromFile(path: string): Promise<Tokenizer> {
    let json: string;
    try {
      json = await readFile(path, 'utf8');
    } catch (error) {
      throw new TensorloomError('BAD_FILE', `Cannot read the tokenizer ${path}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
    return Tokenizer.fromJson(json, path);
  }

  /**
   * @param json the text of a tokenizer.json
   * @param origin what to call it in messages
   * @throws TensorloomError `BAD_FILE` if it is no tokenizer.json
   */
  static fromJson(json: string, origin = 'tokenizer.json'): Tokenizer {
    try {
      const native = NativeTokenizer.fromString(json);
      // A file may carry settings of its own for both, and they would change what `encode` returns: length and padding are the caller's.
      native.disableTruncation();
      native.disablePadding();
      return new Tokenizer(native, json);
    } catch (error) {
      throw new TensorloomError(
        'BAD_FILE',
        `${origin} is not a Hugging Face tokenizer.json: ${reasonOf(error)}. Expected the file that the 'tokenizers' library saves ` +
          '(not tokenizer_config.json, vocab.json or a SentencePiece .model).',
        { cause: error },
      );
    }
  }

  /** Number of tokens, added and special ones included. */
  get vocabSize(): number {
    return this.#native.getVocabSize(true);
  }

  /** Id of the padding token; where there is none, of the end-of-text token (as is usual); else 0. Padding is masked, so any id is safe. */
  get padId(): number {
    for (const token of [...PAD_TOKENS, ...END_TOKENS]) {
      const id = this.#native.tokenToId(token);
      if (id !== null) return id;
    }
    return 0;
  }

  tokenToId(token: string): number | undefined {
    return this.#native.tokenToId(token) ?? undefined;
  }

  /** Ids of `text`, with what the tokenizer's post-processor adds. */
  async encode(text: string, limits: EncodeLimits = {}): Promise<Int32Array> {
    return limited((await this.#native.encode(text)).getIds(), limits);
  }

  /** Ids of each text. Runs outside the main thread, on all cores. */
  async encodeBatch(texts: readonly string[], limits: EncodeLimits = {}): Promise<Int32Array[]> {
    const encodings = await this.#native.encodeBatch([...texts]);
    return encodings.map((encoding) => limited(encoding.getIds(), limits));
  }

  async decode(ids: ArrayLike<number>, options: { readonly skipSpecialTokens?: boolean } = {}): Promise<string> {
    return this.#native.decode(Array.from(ids), options.skipSpecialTokens ?? false);
  }

  /** The text of the tokenizer.json, as it was read. */
  toJson(): string {
    return this.#json;
  }

  /** Writes the tokenizer.json, byte for byte as it was read. */
  async save(path: string): Promise<void> {
    await writeFileAtomically(path, this.#json);
  }
}

function limited(ids: number[], { maxLength }: EncodeLimits): Int32Array {
  return Int32Array.from(maxLength !== undefined && ids.length > maxLength ? ids.slice(0, maxLength) : ids);
}
