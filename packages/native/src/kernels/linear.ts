/** The fused operation `Linear`. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, sizeOf, type NativeKernel } from './kernel.ts';

interface LinearInputs {
  readonly x: tf.TensorInfo;
  readonly weight: tf.TensorInfo;
  readonly bias?: tf.TensorInfo;
}

export const linearKernels: readonly NativeKernel[] = [
  kernel<LinearInputs>('Linear', (backend, { x, weight, bias }) => {
    const [n, k] = weight.shape as [number, number];
    const output = addon().linear(
      backend.handle(x),
      backend.handle(weight),
      bias === undefined ? null : backend.handle(bias),
      sizeOf(x.shape) / k,
      n,
      k,
    );
    return backend.fromHandle(output, [...x.shape.slice(0, -1), n]);
  }),
];
