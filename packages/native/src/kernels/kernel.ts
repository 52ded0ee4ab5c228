/** How kernels of this backend are written. */
import type { tf } from '@tensorloom/core';
import type { NativeBackend } from '../backend.ts';

/** A kernel without the backend's name. */
export interface NativeKernel {
  readonly kernelName: string;
  readonly kernelFunc: tf.KernelFunc;
}

/**
 * A kernel with typed inputs and attributes. Inputs that the caller may leave out are optional in `Inputs`.
 * @param run computes the outputs; their tensors are new, or share data by `backend.share`
 */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- They say what tfjs's untyped maps hold.
export function kernel<Inputs extends object, Attributes extends object = object>(
  kernelName: string,
  run: (backend: NativeBackend, inputs: Inputs, attributes: Attributes) => tf.TensorInfo | tf.TensorInfo[],
): NativeKernel {
  return {
    kernelName,
    kernelFunc: ({ inputs, backend, attrs }) =>
      run(backend as unknown as NativeBackend, inputs as unknown as Inputs, (attrs ?? {}) as unknown as Attributes),
  };
}

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
