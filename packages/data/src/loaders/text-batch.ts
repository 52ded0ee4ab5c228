/** Batches of tokenized texts: padding and masks. */
import { HostTensor, TensorloomError } from '@tensorloom/core';

/** One tokenized text. `ids` may be a view into a large array: do not write to it. */
export interface TokenizedText {
  readonly ids: ArrayLike<number>;
  /** The class index, or the target value for regression. */
  readonly label: number;
}

/** A micro-batch of texts in host memory, as BLOOM takes it once on the device. */
export interface TextBatch {
  /** [batch, seq] int32 */
  readonly inputIds: HostTensor;
  /** [batch, seq] int32: 1 for a token, 0 for padding */
  readonly attentionMask: HostTensor;
  /** [batch] int32 class indices; float32 for regression */
  readonly labels: HostTensor;
  /** Texts in the batch that count: all, or none where it only keeps this rank in step with the others. */
  readonly items: number;
  /** Tokens of the texts that count, without padding. */
  readonly tokens: number;
}

/** Options of `textCollator`. */
export interface TextCollateOptions {
  /** The id that fills up, from the tokenizer (`tokenizer.padId`). */
  readonly padId: number;
  /** To the longest text of the batch (`longest`, default) or always to `maxLength` (`max`): the same mathematics, more work. */
  readonly padding?: 'longest' | 'max';
  /** Tokens beyond are cut off; needed for `padding: 'max'`. */
  readonly maxLength?: number;
  /** Where padding goes (default right). */
  readonly paddingSide?: 'left' | 'right';
  /** Labels are class indices (default) or real numbers. */
  readonly task?: 'classification' | 'regression';
}

/**
 * A collate function for `DataLoader`. A text without any token gets one padding token that counts as a token, so that every row
 * has a last token to pool at.
 * @throws TensorloomError `BAD_OPTION` for `padding: 'max'` without `maxLength`
 */
export function textCollator(options: TextCollateOptions): (texts: TokenizedText[], counted?: number) => TextBatch {
  const { padId, padding = 'longest', paddingSide = 'right', task = 'classification' } = options;
  if (padding === 'max' && options.maxLength === undefined)
    throw new TensorloomError('BAD_OPTION', "textCollator: padding 'max' needs maxLength, the length to pad to.");
  const limit = options.maxLength ?? Infinity;
  return (texts, counted = texts.length) => {
    const lengths = texts.map((text) => Math.max(1, Math.min(text.ids.length, limit)));
    const seq = padding === 'max' ? limit : Math.max(...lengths);
    const inputIds = new Int32Array(texts.length * seq).fill(padId);
    const attentionMask = new Int32Array(texts.length * seq);
    texts.forEach((text, row) => {
      const length = lengths[row] as number;
      const start = row * seq + (paddingSide === 'left' ? seq - length : 0);
      for (let i = 0; i < length; i++) inputIds[start + i] = text.ids[i] ?? padId;
      attentionMask.fill(1, start, start + length);
    });
    const labels = texts.map((text) => text.label);
    return {
      inputIds: new HostTensor(inputIds, [texts.length, seq]),
      attentionMask: new HostTensor(attentionMask, [texts.length, seq]),
      labels: new HostTensor(task === 'regression' ? Float32Array.from(labels) : Int32Array.from(labels), [
        texts.length,
      ]),
      items: counted,
      tokens: lengths.slice(0, counted).reduce((sum, length) => sum + length, 0),
    };
  };
}
