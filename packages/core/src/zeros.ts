/** Tensors of zeros, which take no memory before somebody writes to them where the backend can do that. */
import { isKernel } from './autograd/tape.ts';
import { runKernel } from './ops/fused-op.ts';
import { tf, type Tensor } from './tensors.ts';

/**
 * Zeros, stored as new float tensors are. `tf.zeros` makes an array in JavaScript, and a backend with a memory of its own then copies all of it. One that
 * can have zeros for nothing registers a tfjs kernel `Zeros` without inputs and with the attribute `shape`.
 */
export function zeros(shape: readonly number[]): Tensor {
  const made = isKernel('Zeros') ? runKernel('Zeros', {}, { shape: [...shape] })[0] : undefined;
  return made ?? tf.zeros([...shape]);
}
