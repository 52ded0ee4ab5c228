/**
 * The one place where tfjs is imported. Every package takes `tf` from here, so that there is a single tfjs engine and
 * its gradients are registered: `@tensorflow/tfjs-core` alone has none in Node, the union package has.
 */
import * as tf from '@tensorflow/tfjs';

// Switches off tfjs's advice on the console (which backend to install, that a platform was set twice); it has no other effect.
tf.enableProdMode();

export { tf };
/** tfjs's tensor, on the active backend. */
export type Tensor = tf.Tensor;
/** A tensor of rank 0. */
export type Scalar = tf.Scalar;

/** Whether `value` is one of tfjs's tensors. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof tf.Tensor;
}
