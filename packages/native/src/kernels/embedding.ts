/** The operation `EmbeddingLookup`: rows of a table, which lies where steps on rows change it, and sums of rows. */
import type { EmbeddingLookupAttributes, EmbeddingLookupGradAttributes, tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';

export const embeddingKernels: readonly NativeKernel[] = [
  kernel<object, EmbeddingLookupAttributes>('EmbeddingLookup', (backend, _inputs, { table, indices, width }) =>
    backend.fromHandle(addon().gatherRows(table, indices, width, backend.activationStorage), [indices.length, width]),
  ),
  kernel<{ readonly outputGradient: tf.TensorInfo }, EmbeddingLookupGradAttributes>(
    'EmbeddingLookupGrad',
    (backend, { outputGradient }, { slots, rows, width }) =>
      backend.fromHandle(addon().sumRows(backend.handle(outputGradient), slots, rows, width), [rows, width]),
  ),
];
