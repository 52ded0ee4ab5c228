/** Adds gradients, dense and row-sparse ones. */
import type { Gradient, Parameter } from '../modules/parameter.ts';
import { labelMemory } from '../memory-label.ts';
import { runKernel } from '../ops/fused-op.ts';
import { tf, type Tensor } from '../tensors.ts';
import { RowSparse } from './row-sparse.ts';
import { isKernel } from './tape.ts';

/**
 * Adds `gradient` into `parameter.grad`, taking ownership of it. Row-sparse plus dense is dense.
 *
 * A backend adds dense gradients in place by registering a tfjs kernel `AccumulateGradient` with the inputs `into` and
 * `gradient`: it either changes the first and returns `[]`, or, where something else shares its data, returns the sum.
 */
export function accumulateGradient(parameter: Parameter, gradient: Gradient): void {
  const previous = parameter.grad;
  const next = previous === null ? gradient : sum(previous, gradient);
  if (next !== previous) {
    parameter.grad = keepGradient(next);
    labelMemory(gradientValues(next), 'gradient');
    previous?.dispose();
  }
  if (next !== gradient) gradient.dispose();
}

/** Exempts a gradient's tensor from the tidy that it was made in. */
export function keepGradient(gradient: Gradient): Gradient {
  tf.keep(gradientValues(gradient));
  return gradient;
}

/** The tensor that holds a gradient's values: all of them, or those of the rows that occurred. */
export function gradientValues(gradient: Gradient): Tensor {
  return gradient instanceof RowSparse ? gradient.rows : gradient;
}

/** Applies an element-wise `fn` that maps zero to zero. The operand stays. */
export function mapGradient(gradient: Gradient, fn: (values: Tensor) => Tensor): Gradient {
  return gradient instanceof RowSparse ? gradient.map(fn) : fn(gradient);
}

/** The sum, new, or `a` if it was changed in place. */
function sum(a: Gradient, b: Gradient): Gradient {
  if (a instanceof RowSparse && b instanceof RowSparse) return a.add(b);
  if (!(a instanceof RowSparse) && !(b instanceof RowSparse) && isKernel('AccumulateGradient'))
    return runKernel('AccumulateGradient', { into: a, gradient: b }, {})[0] ?? a;
  return tf.tidy(() => tf.add(toDense(a), toDense(b)));
}

/** The gradient as a dense tensor: itself if it is one. */
export function toDense(gradient: Gradient): Tensor {
  return gradient instanceof RowSparse ? gradient.toDense() : gradient;
}
