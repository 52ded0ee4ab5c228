/** What the backend knows of one tensor's data: where it is (the engine, JavaScript, or both), and how often it is used. */
import { type tf } from '@tensorloom/core';
import { addon, memoryKinds, type Elements, type Handle } from './addon.ts';

/** Data of a tensor, under the names that tfjs's CPU kernels expect. */
export class TensorData {
  refCount = 1;
  /** Parts of a complex tensor, which itself has no data. */
  complexTensorInfos?: { readonly real: tf.TensorInfo; readonly imag: tf.TensorInfo };
  /** As the addon's code. */
  #kind: number = memoryKinds.tensor;
  #handle: Handle | null;
  #values: tf.backend_util.BackendValues | null;

  private constructor(
    readonly dtype: tf.DataType,
    handle: Handle | null,
    values: tf.backend_util.BackendValues | null,
  ) {
    this.#handle = handle;
    this.#values = values;
  }

  /** Of a tensor in the engine; owns the handle. */
  static inEngine(dtype: tf.DataType, handle: Handle): TensorData {
    return new TensorData(dtype, handle, null);
  }

  /** Of values in JavaScript, which go to the engine when a kernel of its wants them. */
  static inJavaScript(dtype: tf.DataType, values: tf.backend_util.BackendValues | null): TensorData {
    return new TensorData(dtype, null, values);
  }

  /**
   * The tensor in the engine; uploaded first if it is not there. From then on JavaScript's copy is dropped, since kernels may change
   * tensors in place.
   * @throws Error for strings and complex numbers, which the engine has not
   */
  get handle(): Handle {
    if (this.#handle === null) {
      this.#handle = upload(this.#values as Elements, this.dtype);
      this.#values = null;
      if (this.#kind !== memoryKinds.tensor) addon().setKind(this.#handle, this.#kind);
    }
    return this.#handle;
  }

  /** Whether `values` are where they lie: not so for halves. */
  get canBeSeen(): boolean {
    return this.#handle === null ? this.#values !== null : hasView(this.#handle);
  }

  /** What the memory is for. */
  get kind(): number {
    return this.#kind;
  }

  /** Counts the memory as another kind, from now on or from when the data come to the engine. */
  label(kind: number): void {
    this.#kind = kind;
    if (this.#handle !== null) addon().setKind(this.#handle, kind);
  }

  /** The values: where they lie if that is possible, else a copy. Do not change them. */
  get values(): tf.backend_util.BackendValues {
    if (this.#handle === null) return this.#values as tf.backend_util.BackendValues;
    return hasView(this.#handle) ? addon().view(this.#handle) : addon().read(this.#handle);
  }

  /** tfjs's CPU kernels write here what they made. */
  set values(values: tf.backend_util.BackendValues) {
    this.free();
    this.#values = values;
  }

  /** A copy of the values. */
  read(): tf.backend_util.BackendValues {
    return this.#handle === null ? (this.#values as tf.backend_util.BackendValues) : addon().read(this.#handle);
  }

  free(): void {
    if (this.#handle !== null) addon().free(this.#handle);
    this.#handle = null;
    this.#values = null;
  }
}

function hasView(handle: Handle): boolean {
  const storage = addon().storageOf(handle);
  return storage !== 1 && storage !== 2;
}

function upload(values: Elements, dtype: tf.DataType): Handle {
  if (dtype === 'float32')
    return addon().uploadFloats(values instanceof Float32Array ? values : Float32Array.from(values), 0);
  if (dtype === 'int32') return addon().uploadIntegers(values instanceof Int32Array ? values : Int32Array.from(values));
  if (dtype === 'bool') return addon().uploadBooleans(values instanceof Uint8Array ? values : Uint8Array.from(values));
  throw new Error(`The engine has no tensors of ${dtype}.`);
}
