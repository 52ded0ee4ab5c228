/** Share of predictions that are right. */
import { TensorloomError } from '../errors.ts';
import { tf, type Tensor } from '../tensors.ts';
import { Metric } from './metric.ts';

/** Right predictions over all that count. */
export class Accuracy extends Metric {
  /** @param ignoreIndex labels of this value do not count, default -100 */
  constructor(readonly ignoreIndex = -100) {
    super(2);
  }

  /**
   * Counts one batch.
   * @param predictions logits `[n, classes]`, of which the largest wins, or classes `[n]`
   * @param labels `[n]`
   * @throws TensorloomError `BAD_DATA` if there are not as many labels as predictions
   */
  update(predictions: Tensor | ArrayLike<number>, labels: Tensor | ArrayLike<number>): void {
    const predicted = classes(predictions);
    const wanted = labels instanceof tf.Tensor ? labels.dataSync<'int32'>() : labels;
    if (predicted.length !== wanted.length)
      throw new TensorloomError(
        'BAD_DATA',
        `Accuracy: there are ${predicted.length} predictions and ${wanted.length} labels.`,
      );
    for (let i = 0; i < wanted.length; i++) {
      if (wanted[i] === this.ignoreIndex) continue;
      this.sums[0]! += predicted[i] === wanted[i] ? 1 : 0;
      this.sums[1]! += 1;
    }
  }

  /** Between 0 and 1. */
  override compute(): number {
    return this.sums[0]! / this.sums[1]!;
  }
}

function classes(predictions: Tensor | ArrayLike<number>): ArrayLike<number> {
  if (!(predictions instanceof tf.Tensor)) return predictions;
  return tf.tidy(() => (predictions.rank === 2 ? tf.argMax(predictions, 1) : predictions).dataSync<'int32'>().slice());
}
