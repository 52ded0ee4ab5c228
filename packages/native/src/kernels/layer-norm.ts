/** The fused operation `LayerNorm`. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';

interface Weights {
  readonly weight: tf.TensorInfo;
  readonly bias: tf.TensorInfo;
}

interface GradientInputs {
  readonly outputGradient: tf.TensorInfo;
  readonly x: tf.TensorInfo;
  readonly weight: tf.TensorInfo;
  readonly mean: tf.TensorInfo;
  readonly inverseDeviation: tf.TensorInfo;
}

export const layerNormKernels: readonly NativeKernel[] = [
  kernel<Weights & { readonly x: tf.TensorInfo }, { readonly epsilon: number }>(
    'LayerNorm',
    (backend, { x, weight, bias }, { epsilon }) => {
      const [output, mean, inverseDeviation] = addon().layerNorm(
        backend.handle(x),
        backend.handle(weight),
        backend.handle(bias),
        epsilon,
        backend.activationStorage,
      );
      const byRow = x.shape.slice(0, -1);
      return [
        backend.fromHandle(output, x.shape),
        backend.fromHandle(mean, byRow),
        backend.fromHandle(inverseDeviation, byRow),
      ];
    },
  ),
  kernel<GradientInputs>('LayerNormGrad', (backend, { outputGradient, x, weight, mean, inverseDeviation }) => {
    const [dx, dWeight, dBias] = addon().layerNormGrad(
      backend.handle(outputGradient),
      backend.handle(x),
      backend.handle(weight),
      backend.handle(mean),
      backend.handle(inverseDeviation),
    );
    return [
      backend.fromHandle(dx, x.shape),
      backend.fromHandle(dWeight, weight.shape),
      backend.fromHandle(dBias, weight.shape),
    ];
  }),
];
