/** Softmax cross-entropy over classes, as torch.nn.functional.cross_entropy (mean over the labels that count). In float32 under every precision. */
import { TensorloomError } from '../errors.ts';
import { withFloat32Activations } from '../precision/activation-storage.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { fusedOp } from './fused-op.ts';

interface Attributes {
  readonly ignoreIndex: number;
  /** Number of labels that are not `ignoreIndex`. */
  readonly items: number;
}

/**
 * `logits` may be the largest tensor of all (tokens × 250,880), so the forward keeps only each row's log-sum-exp, and the
 * backward takes the one-hot labels off at single positions.
 */
const apply = fusedOp<'logits' | 'labels', 'logSumExp', Attributes>({
  name: 'CrossEntropy',
  saves: ['logits', 'labels'],
  residuals: ['logSumExp'],
  differentiates: ['logits'],
  forward({ logits, labels }, { ignoreIndex, items }) {
    const { positions, counts } = labelled(labels, ignoreIndex);
    const largest = tf.max(logits, 1, true);
    const shifted = tf.sub(logits, largest);
    const exponentials = tf.exp(shifted);
    shifted.dispose();
    const logSumExp = tf.add(tf.log(tf.sum(exponentials, 1, true)), largest);
    exponentials.dispose();
    const losses = tf.sub(tf.reshape(logSumExp, [-1]), tf.gatherND(logits, positions));
    // Chosen, not multiplied: the loss of a row that does not count may be infinite.
    const counted = tf.where(tf.cast(counts, 'bool'), losses, tf.zerosLike(losses));
    return { output: tf.div(tf.sum(counted), Math.max(items, 1)), logSumExp };
  },
  backward(outputGradient, { logits, labels, logSumExp }, { ignoreIndex, items }) {
    return {
      logits: () => {
        const { positions, counts } = labelled(labels, ignoreIndex);
        const weights = tf.mul(counts, tf.div(outputGradient, Math.max(items, 1)));
        const logProbabilities = tf.sub(logits, logSumExp);
        const probabilities = tf.exp(logProbabilities);
        logProbabilities.dispose();
        const scaled = tf.mul(probabilities, tf.reshape(weights, [-1, 1]));
        const atLabels = tf.mul(tf.sub(tf.gatherND(probabilities, positions), 1), weights);
        probabilities.dispose();
        return tf.tensorScatterUpdate(scaled, positions, atLabels);
      },
    };
  },
});

/** Positions `[n, 2]` of the labels in the logits (column 0 for ignored ones) and which of them count, float32 `[n]` of 0 and 1. */
function labelled(labels: Tensor, ignoreIndex: number): { positions: Tensor; counts: Tensor } {
  const counts = tf.cast(tf.notEqual(labels, tf.scalar(ignoreIndex, 'int32')), 'float32');
  const columns = tf.mul(labels, tf.cast(counts, 'int32'));
  return { positions: tf.stack([tf.range(0, labels.size, 1, 'int32'), columns], 1), counts };
}

/** What `crossEntropy` gives; a model may return it as its output for `backward`. */
export interface CrossEntropy {
  /** Mean over `items`; 0 if there are none. */
  readonly loss: Scalar;
  /** Number of labels that count. */
  readonly items: number;
}

/**
 * Mean over the labels other than `ignoreIndex` (default -100) of -log softmax(logits)[label]. If all are ignored, loss and
 * gradient are zero.
 * @param logits float32 `[n, classes]`
 * @param labels int32 `[n]`
 * @throws TensorloomError `BAD_DATA` if a label is neither a class nor `ignoreIndex`, or the shapes do not fit
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: { readonly ignoreIndex?: number } = {},
): CrossEntropy {
  const ignoreIndex = options.ignoreIndex ?? -100;
  const [n, classes] = logits.shape;
  if (logits.rank !== 2 || labels.rank !== 1 || labels.shape[0] !== n || labels.dtype !== 'int32')
    throw new TensorloomError(
      'BAD_DATA',
      `crossEntropy: logits are [${logits.shape.join(', ')}], labels ${labels.dtype} [${labels.shape.join(', ')}]; expected [n, classes] and int32 [n].`,
    );
  let items = 0;
  for (const label of labels.dataSync<'int32'>()) {
    if (label === ignoreIndex) continue;
    if (label < 0 || label >= (classes as number))
      throw new TensorloomError(
        'BAD_DATA',
        `crossEntropy: label ${label} is out of range; there are ${classes} classes, 0 to ${(classes as number) - 1}, and ${ignoreIndex} is ignored.`,
      );
    items++;
  }
  return { loss: withFloat32Activations(() => apply({ logits, labels }, { ignoreIndex, items })) as Scalar, items };
}
