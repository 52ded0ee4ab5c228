/** The tokenized texts of one split, packed end to end: 50,000 reviews are three arrays, not 50,000 objects. */
import type { MapDataSet } from '../loaders/data-set.ts';
import type { TokenizedText } from '../loaders/text-batch.ts';

/** A map-style data set of tokenized texts. */
export class TokenizedSplit implements MapDataSet<TokenizedText> {
  /**
   * @param ids all token ids, text after text
   * @param offsets where each text starts in `ids`, and the end of the last: length + 1 entries
   * @param labels class indices (Int32Array), or targets of a regression (Float32Array)
   */
  constructor(
    readonly ids: Uint16Array | Int32Array,
    readonly offsets: Int32Array,
    readonly labels: Int32Array | Float32Array,
  ) {}

  get length(): number {
    return this.labels.length;
  }

  /** A view: nothing is copied. @throws RangeError outside 0..length-1 */
  get(index: number): TokenizedText {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new RangeError(`TokenizedSplit: index ${index}, the split has ${this.length} texts`);
    return {
      ids: this.ids.subarray(this.offsets[index], this.offsets[index + 1]),
      label: this.labels[index] as number,
    };
  }

  /** Tokens of each text. */
  lengths(): Int32Array {
    return Int32Array.from(
      { length: this.length },
      (_, i) => (this.offsets[i + 1] as number) - (this.offsets[i] as number),
    );
  }

  /** The first `count` texts (all, where there are fewer), sharing memory. */
  take(count: number): TokenizedSplit {
    const n = Math.min(count, this.length);
    return new TokenizedSplit(this.ids, this.offsets.subarray(0, n + 1), this.labels.subarray(0, n));
  }
}

/** A data set ready for loaders. */
export interface TextClassificationData {
  readonly name: string;
  /** Label names by class index; empty for regression. */
  readonly labelNames: readonly string[];
  readonly task: 'classification' | 'regression';
  readonly train: TokenizedSplit;
  readonly validation: TokenizedSplit;
  readonly test: TokenizedSplit;
}
