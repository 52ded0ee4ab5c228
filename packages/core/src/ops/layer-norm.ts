/** Layer normalization over the last axis (Ba et al., 2016), biased variance as in PyTorch. */
import { TensorloomError } from '../errors.ts';
import { tf, type Tensor } from '../tensors.ts';
import { fusedOp, type TensorOrParameter } from './fused-op.ts';

const apply = fusedOp<'x' | 'weight' | 'bias', 'normalized' | 'inverseDeviation', { readonly epsilon: number }>({
  name: 'LayerNorm',
  saves: ['weight'],
  residuals: ['normalized', 'inverseDeviation'],
  // A tensor as large as x has to be held in any case; x itself costs no pass over memory, and a block that is recomputed holds it anyway.
  kernel: { saves: ['x', 'weight'], residuals: ['mean', 'inverseDeviation'] },
  differentiates: ['x', 'weight', 'bias'],
  forward({ x, weight, bias }, { epsilon }) {
    const centered = tf.sub(x, tf.mean(x, -1, true));
    const inverseDeviation = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), epsilon));
    const normalized = tf.mul(centered, inverseDeviation);
    return { output: tf.add(tf.mul(normalized, weight), bias), normalized, inverseDeviation };
  },
  backward(dy, { weight, normalized, inverseDeviation }) {
    const width = weight.size;
    const byRow = (tensor: Tensor): Tensor => tf.reshape(tensor, [-1, width]);
    return {
      x: () => {
        const g = tf.mul(dy, weight);
        const along = tf.mean(tf.mul(g, normalized), -1, true);
        const residue = tf.sub(tf.sub(g, tf.mean(g, -1, true)), tf.mul(normalized, along));
        return tf.mul(residue, inverseDeviation);
      },
      weight: () => tf.sum(byRow(tf.mul(dy, normalized)), 0),
      bias: () => tf.sum(byRow(dy), 0),
    };
  },
});

/**
 * `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last axis of `x [..., width]`; `weight` and `bias` are `[width]`.
 * @throws TensorloomError `BAD_DATA` if the shapes do not fit
 */
export function layerNorm(x: Tensor, weight: TensorOrParameter, bias: TensorOrParameter, epsilon = 1e-5): Tensor {
  const width = x.shape.at(-1);
  for (const [name, { shape }] of Object.entries({ weight, bias }))
    if (shape.length !== 1 || shape[0] !== width)
      throw new TensorloomError(
        'BAD_DATA',
        `layerNorm: ${name} is [${shape.join(', ')}]; expected [${width}] for x [${x.shape.join(', ')}].`,
      );
  return apply({ x, weight, bias }, { epsilon });
}
