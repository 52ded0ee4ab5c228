/** The tanh approximation of GELU (Hendrycks and Gimpel, 2016), with BLOOM's rounded constant. */
import { tf, type Tensor } from '../tensors.ts';
import { fusedOp } from './fused-op.ts';

/** sqrt(2 / pi) as BLOOM has it. */
const slope = 0.79788456;
const cubic = 0.044715;

/** sigmoid(2z), z = slope (x + cubic x³): as 1 + tanh(z) = 2 sigmoid(2z), GELU is x sigmoid(2z), in fewer passes over memory. */
function gate(x: Tensor, squared: Tensor): Tensor {
  return tf.sigmoid(tf.mul(x, tf.add(tf.mul(squared, 2 * slope * cubic), 2 * slope)));
}

const apply = fusedOp<'x', never, object>({
  name: 'GeluTanh',
  saves: ['x'],
  residuals: [],
  differentiates: ['x'],
  forward: ({ x }) => ({ output: tf.mul(x, gate(x, tf.square(x))) }),
  backward: (dy, { x }) => ({
    // d/dx x s(2z) = s + x s (1 - s) 2 z'. The gate is computed again rather than kept: it is as large as x.
    x: () => {
      const squared = tf.square(x);
      const s = gate(x, squared);
      const steepness = tf.mul(x, tf.add(tf.mul(squared, 6 * slope * cubic), 2 * slope));
      return tf.mul(dy, tf.mul(s, tf.add(tf.mul(steepness, tf.sub(1, s)), 1)));
    },
  }),
});

/** `0.5 x (1 + tanh(0.79788456 (x + 0.044715 x³)))`, element by element. */
export function geluTanh(x: Tensor): Tensor {
  return apply({ x }, {});
}
