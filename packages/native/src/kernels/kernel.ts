/** How kernels of this backend are written. */
import { tf, TensorloomError } from '@tensorloom/core';
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

/**
 * As `kernel`, for what `accepts` says; tfjs's CPU kernel of that name does the rest (other types of elements, above all).
 * @param accepts whether the engine can compute it
 */
export function kernelWhere<Inputs extends object, Attributes extends object = object>(
  kernelName: string,
  accepts: (inputs: Inputs, attributes: Attributes) => boolean,
  run: (backend: NativeBackend, inputs: Inputs, attributes: Attributes) => tf.TensorInfo | tf.TensorInfo[],
): NativeKernel {
  const { kernelFunc } = kernel(kernelName, run);
  return {
    kernelName,
    kernelFunc: (call) =>
      accepts(call.inputs as unknown as Inputs, (call.attrs ?? {}) as unknown as Attributes)
        ? kernelFunc(call)
        : cpuKernel(kernelName)(call),
  };
}

/** tfjs's CPU kernel of this name. */
function cpuKernel(kernelName: string): tf.KernelFunc {
  const found = tf.getKernel(kernelName, 'cpu');
  if (found === undefined)
    throw new TensorloomError('UNSUPPORTED', `There is no kernel ${kernelName} for these tensors.`);
  return found.kernelFunc;
}

/**
 * A shape, or strides, as the addon takes them.
 * @throws TensorloomError `UNSUPPORTED` for what would wrap around in an `Int32Array`
 */
export function int32s(what: string, values: readonly number[]): Int32Array {
  if (values.every((value) => value === (value | 0))) return Int32Array.from(values);
  throw new TensorloomError(
    'UNSUPPORTED',
    `The accelerator 'native' was given a tensor with ${what} [${values.join(', ')}]; it takes numbers below 2^31 there. Work on parts of the tensor, for example on a smaller micro-batch.`,
  );
}

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
