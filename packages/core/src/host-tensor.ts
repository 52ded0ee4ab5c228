/** Tensors in plain JavaScript memory, as data loaders and files give them, and their way onto the device. */
import { tf, type Tensor } from './tensors.ts';

/** What data loaders give and files hold. */
export type HostDType = 'float32' | 'int32';

/** A dense, row-major array in host memory. */
export class HostTensor {
  readonly dtype: HostDType;

  constructor(
    readonly data: Float32Array | Int32Array,
    readonly shape: readonly number[],
  ) {
    const size = shape.reduce((product, n) => product * n, 1);
    if (size !== data.length)
      throw new RangeError(`HostTensor: shape [${shape.join(', ')}] has ${size} elements, data has ${data.length}`);
    this.dtype = data instanceof Int32Array ? 'int32' : 'float32';
  }
}

/** The type of `T` with every HostTensor in it moved to the device. */
export type OnDevice<T> = T extends HostTensor
  ? Tensor
  : T extends readonly (infer U)[]
    ? OnDevice<U>[]
    : T extends (...args: never[]) => unknown
      ? T
      : T extends object
        ? { [K in keyof T]: OnDevice<T[K]> }
        : T;

/** Copies every HostTensor of a nested collection (arrays, plain objects) to the active backend; other values pass through. */
export function toDevice<T>(value: T): OnDevice<T> {
  return move(value) as OnDevice<T>;
}

function move(value: unknown): unknown {
  if (value instanceof HostTensor) return tf.tensor(value.data, [...value.shape], value.dtype);
  if (Array.isArray(value)) return value.map(move);
  if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, move(entry)]));
  return value;
}
