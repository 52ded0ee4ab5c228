/** Affine map over the last axis. */
import { TensorloomError } from '../errors.ts';
import { tf, type Tensor } from '../tensors.ts';
import { fusedOp, type TensorOrParameter } from './fused-op.ts';

const apply = fusedOp<'x' | 'weight' | 'bias', never, object>({
  name: 'Linear',
  saves: ['x', 'weight'],
  residuals: [],
  differentiates: ['x', 'weight', 'bias'],
  forward({ x, weight, bias }) {
    const flat = flatten(x);
    const given = bias as Tensor | undefined;
    // tfjs-backend-wasm 4.22 adds the bias wrongly in its fused product.
    const apart = given !== undefined && tf.getBackend() === 'wasm';
    const product = tf.fused.matMul({ a: flat, b: weight, transposeB: true, ...(given && !apart && { bias: given }) });
    const output = apart ? tf.add(product, given) : product;
    return { output: tf.reshape(output, [...x.shape.slice(0, -1), weight.shape[0]]) };
  },
  backward(outputGradient, { x, weight }) {
    const dy = flatten(outputGradient);
    return {
      x: () => tf.reshape(tf.matMul(dy, weight), x.shape),
      weight: () => tf.matMul(dy, flatten(x), true, false),
      bias: () => tf.sum(dy, 0),
    };
  },
});

function flatten(x: Tensor): tf.Tensor2D {
  return tf.reshape(x, [-1, x.shape.at(-1) as number]);
}

/**
 * `x [..., in]` times the transpose of `weight [out, in]`, plus `bias [out]`: `[..., out]` (PyTorch's layout of weights).
 * @throws TensorloomError `BAD_DATA` if the shapes do not fit
 */
export function linear(x: Tensor, weight: TensorOrParameter, bias?: TensorOrParameter | null): Tensor {
  const [out, inner] = weight.shape;
  if (weight.shape.length !== 2 || x.rank < 1 || x.shape.at(-1) !== inner)
    throw new TensorloomError(
      'BAD_DATA',
      `linear: x is [${x.shape.join(', ')}] and weight [${weight.shape.join(', ')}]; expected [..., in] and [out, in].`,
    );
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== out))
    throw new TensorloomError('BAD_DATA', `linear: bias is [${bias.shape.join(', ')}]; expected [${out}].`);
  return apply({ x, weight, ...(bias && { bias }) }, {});
}
