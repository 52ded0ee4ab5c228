/** Softmax over the last axis, the only one that tfjs asks for. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernelWhere, type NativeKernel } from './kernel.ts';

export const softmaxKernels: readonly NativeKernel[] = [
  kernelWhere<{ readonly logits: tf.TensorInfo }, { readonly dim: number }>(
    'Softmax',
    ({ logits }, { dim }) => logits.dtype === 'float32' && (dim === -1 || dim === logits.shape.length - 1),
    (backend, { logits }) => {
      const output = addon().softmax(backend.handle(logits), logits.shape.at(-1) ?? 1, backend.activationStorage);
      return backend.fromHandle(output, logits.shape);
    },
  ),
];
