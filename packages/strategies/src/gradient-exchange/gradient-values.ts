/** Gradients as numbers in host memory, and back. */
import { hostValues, RowSparse, tf, type Gradient, type Parameter } from '@tensorloom/core';

/** All values of a gradient, row-major; not to be changed. */
export function denseValues(gradient: Gradient): Float32Array {
  if (!(gradient instanceof RowSparse)) return hostValues(gradient);
  const [numRows, width] = gradient.shape;
  const values = new Float32Array(numRows * width);
  const rows = hostValues(gradient.rows);
  for (const [i, row] of gradient.indices.entries()) values.set(rows.subarray(i * width, (i + 1) * width), row * width);
  return values;
}

/** Replaces a parameter's gradient by these values, which it takes over; null for none. */
export function setDenseGradient(parameter: Parameter, values: Float32Array<ArrayBuffer> | null): void {
  parameter.zeroGrad();
  if (values !== null) parameter.grad = tf.keep(tf.tensor(values, [...parameter.shape], 'float32'));
}

/** Replaces a parameter's gradient, taking ownership. */
export function setGradient(parameter: Parameter, gradient: Gradient): void {
  parameter.zeroGrad();
  tf.keep(gradient instanceof RowSparse ? gradient.rows : gradient);
  parameter.grad = gradient;
}
