/** Weighted means, and the perplexity of a language model. */
import { Metric } from './metric.ts';

/** A mean of values that weigh unequally, as the losses of batches of unequal size. */
export class Mean extends Metric {
  constructor() {
    super(2);
  }

  /** @param weight number of items that `value` is the mean over, default 1 */
  update(value: number, weight = 1): void {
    // A mean over nothing may be NaN; it weighs nothing.
    if (weight === 0) return;
    this.sums[0]! += value * weight;
    this.sums[1]! += weight;
  }

  override compute(): number {
    return this.sums[0]! / this.sums[1]!;
  }
}

/** exp of the mean cross-entropy per token, over all tokens alike. Update with each batch's mean loss and number of tokens. */
export class Perplexity extends Mean {
  override compute(): number {
    return Math.exp(super.compute());
  }
}
