/** The fused operation `Dropout`, whose mask is computed from its seed whenever it is needed. */
import type { tf } from '@tensorloom/core';
import { addon, storageCodes } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';

interface DropoutAttributes {
  readonly rate: number;
  readonly seed: number;
}

export const dropoutKernels: readonly NativeKernel[] = [
  kernel<{ readonly x: tf.TensorInfo }, DropoutAttributes>('Dropout', (backend, { x }, { rate, seed }) =>
    backend.fromHandle(addon().dropout(backend.handle(x), rate, seed, backend.activationStorage), x.shape),
  ),
  kernel<{ readonly outputGradient: tf.TensorInfo }, DropoutAttributes>(
    'DropoutGrad',
    (backend, { outputGradient: dy }, { rate, seed }) =>
      backend.fromHandle(addon().dropout(backend.handle(dy), rate, seed, storageCodes.float32), dy.shape),
  ),
];
