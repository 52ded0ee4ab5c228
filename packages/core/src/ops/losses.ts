/** Mean squared error and binary cross-entropy, as in torch.nn.functional: means over all elements. In float32 under every precision. */
import { TensorloomError } from '../errors.ts';
import { withFloat32Activations } from '../precision/activation-storage.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { fusedOp } from './fused-op.ts';

const squaredError = fusedOp<'predictions' | 'targets', never, object>({
  name: 'MeanSquaredError',
  saves: ['predictions', 'targets'],
  residuals: [],
  differentiates: ['predictions', 'targets'],
  forward: ({ predictions, targets }) => ({ output: tf.mean(tf.squaredDifference(predictions, targets)) }),
  backward: (dy, { predictions, targets }) => {
    const slope = (): Tensor => tf.mul(tf.sub(predictions, targets), tf.mul(dy, 2 / predictions.size));
    return { predictions: slope, targets: () => tf.neg(slope()) };
  },
});

const binaryCrossEntropy = fusedOp<'logits' | 'targets', never, object>({
  name: 'BinaryCrossEntropyWithLogits',
  saves: ['logits', 'targets'],
  residuals: [],
  differentiates: ['logits', 'targets'],
  // max(x, 0) - x y + log(1 + exp(-|x|)): neither exponential can overflow.
  forward: ({ logits, targets }) => ({
    output: tf.mean(tf.add(tf.sub(tf.relu(logits), tf.mul(logits, targets)), tf.log1p(tf.exp(tf.neg(tf.abs(logits)))))),
  }),
  backward: (dy, { logits, targets }) => {
    const share = tf.mul(dy, 1 / logits.size);
    return {
      logits: () => tf.mul(tf.sub(tf.sigmoid(logits), targets), share),
      targets: () => tf.neg(tf.mul(logits, share)),
    };
  },
});

/**
 * Mean of `(predictions - targets)²`; both float32 of the same shape `[...]`.
 * @throws TensorloomError `BAD_DATA` if the shapes differ
 */
export function meanSquaredError(predictions: Tensor, targets: Tensor): Scalar {
  checkShapes('meanSquaredError', predictions, targets);
  return withFloat32Activations(() => squaredError({ predictions, targets }, {})) as Scalar;
}

/**
 * Mean of `-(y log σ(x) + (1 - y) log(1 - σ(x)))` with logits x and targets y in [0, 1]; both float32 of the same shape `[...]`.
 * @throws TensorloomError `BAD_DATA` if the shapes differ
 */
export function binaryCrossEntropyWithLogits(logits: Tensor, targets: Tensor): Scalar {
  checkShapes('binaryCrossEntropyWithLogits', logits, targets);
  return withFloat32Activations(() => binaryCrossEntropy({ logits, targets }, {})) as Scalar;
}

function checkShapes(name: string, a: Tensor, b: Tensor): void {
  if (!tf.util.arraysEqual(a.shape, b.shape) || a.dtype !== 'float32' || b.dtype !== 'float32')
    throw new TensorloomError(
      'BAD_DATA',
      `${name}: got ${a.dtype} [${a.shape.join(', ')}] and ${b.dtype} [${b.shape.join(', ')}]; expected float32 of one shape.`,
    );
}
