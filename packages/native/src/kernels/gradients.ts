/** What is done to gradients: `AccumulateGradient`, `ScaleGradient` and `AddRows` in place, `GradientNorm` over all of them at once, `LabelMemory`. */
import type { MemoryKind, tf } from '@tensorloom/core';
import { addon, memoryKinds } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';

export const gradientKernels: readonly NativeKernel[] = [
  kernel<{ into: tf.TensorInfo; gradient: tf.TensorInfo }>('AccumulateGradient', (backend, { into, gradient }) => {
    // A copy where a clone of it, or the other operand, would change too.
    const sum = backend.isExclusive(into) ? into : backend.copy(into);
    addon().accumulate(backend.handle(sum), backend.handle(gradient));
    return sum === into ? [] : [sum];
  }),
  kernel<{ values: tf.TensorInfo }, { factor: number }>('ScaleGradient', (backend, { values }, { factor }) => {
    const scaled = backend.isExclusive(values) ? values : backend.copy(values);
    addon().scaleInPlace(backend.handle(scaled), factor);
    return scaled === values ? [] : [scaled];
  }),
  kernel<{ into: tf.TensorInfo; rows: tf.TensorInfo }, { positions: Int32Array }>(
    'AddRows',
    (backend, { into, rows }, { positions }) => {
      const sum = backend.isExclusive(into) ? into : backend.copy(into);
      addon().addRows(backend.handle(sum), backend.handle(rows), positions, rows.shape[1] as number);
      return sum === into ? [] : [sum];
    },
  ),
  kernel<Record<string, tf.TensorInfo>, { normType: number }>('GradientNorm', (backend, tensors, { normType }) => {
    const handles = Uint32Array.from(Object.values(tensors), (tensor) => backend.handle(tensor));
    return backend.makeTensorInfo([], 'float32', Float32Array.of(addon().norm(handles, normType)));
  }),
  kernel<{ x: tf.TensorInfo }, { kind: MemoryKind }>('LabelMemory', (backend, { x }, { kind }) => {
    backend.dataOf(x.dataId).label(memoryKinds[kind]);
    return [];
  }),
];
