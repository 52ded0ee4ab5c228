/** The fused operation `GeluTanh`. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';

interface GradientInputs {
  readonly outputGradient: tf.TensorInfo;
  readonly x: tf.TensorInfo;
}

export const geluTanhKernels: readonly NativeKernel[] = [
  kernel<{ readonly x: tf.TensorInfo }>('GeluTanh', (backend, { x }) =>
    backend.fromHandle(addon().gelu(backend.handle(x), backend.activationStorage), x.shape),
  ),
  kernel<GradientInputs>('GeluTanhGrad', (backend, { outputGradient, x }) =>
    backend.fromHandle(addon().geluGrad(backend.handle(outputGradient), backend.handle(x)), x.shape),
  ),
];
