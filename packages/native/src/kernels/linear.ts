/** The fused operation `Linear` and its gradient. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, sizeOf, type NativeKernel } from './kernel.ts';

interface LinearInputs {
  readonly x: tf.TensorInfo;
  readonly weight: tf.TensorInfo;
  readonly bias?: tf.TensorInfo;
}

interface LinearGradInputs {
  readonly outputGradient: tf.TensorInfo;
  readonly x: tf.TensorInfo;
  readonly weight: tf.TensorInfo;
}

interface LinearGradAttributes {
  readonly gradientsOf: readonly ('x' | 'weight' | 'bias')[];
}

export const linearKernels: readonly NativeKernel[] = [
  kernel<LinearInputs>('Linear', (backend, { x, weight, bias }) => {
    const [n, k] = weight.shape as [number, number];
    const output = addon().linear(
      backend.handle(x),
      backend.handle(weight),
      bias === undefined ? null : backend.handle(bias),
      sizeOf(x.shape.slice(0, -1)),
      n,
      k,
      backend.activationStorage,
    );
    return backend.fromHandle(output, [...x.shape.slice(0, -1), n]);
  }),

  kernel<LinearGradInputs, LinearGradAttributes>('LinearGrad', (backend, inputs, { gradientsOf }) => {
    const { x, weight } = inputs;
    const [n, k] = weight.shape as [number, number];
    const m = sizeOf(x.shape.slice(0, -1));
    const outputGradient = backend.handle(inputs.outputGradient);
    const gradients = {
      x: () => {
        const storage = addon().storageOf(backend.handle(x));
        return backend.fromHandle(
          addon().linearGradX(outputGradient, backend.handle(weight), m, n, k, storage),
          x.shape,
        );
      },
      weight: () =>
        backend.fromHandle(addon().linearGradWeight(outputGradient, backend.handle(x), null, m, n, k), weight.shape),
      bias: () => backend.fromHandle(addon().linearGradBias(outputGradient, null, m, n), [n]),
    };
    return gradientsOf.map((name) => gradients[name]());
  }),
];
