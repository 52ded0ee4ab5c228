/** What the backend knows of one tensor's data: where it is (the engine, JavaScript, or both), and how often it is used. */
import { type tf } from '@tensorloom/core';
import { addon, memoryKinds, storageCodes, type Elements, type Handle } from './addon.ts';

/** Data of a tensor, under the names that tfjs's CPU kernels expect. */
export class TensorData {
  refCount = 1;
  /** Parts of a complex tensor, which itself has no data. */
  complexTensorInfos?: { readonly real: tf.TensorInfo; readonly imag: tf.TensorInfo };
  /** As the addon's code. */
  #kind: number = memoryKinds.tensor;
  #handle: Handle | null;
  #values: tf.backend_util.BackendValues | null;
  /** What was lent to JavaScript of the tensor in the engine. */
  #view: Elements | null = null;
  /** What was shown to JavaScript to keep. Made once: JavaScript counts the whole memory anew for each view, and would collect garbage for it. */
  #shown: Elements | null = null;
  /** The elements as another type, for tensors on the same data that tfjs takes for converted. */
  #converted: { readonly dtype: tf.DataType; readonly handle: Handle } | null = null;

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
    return new TensorData(dtype, null, values === null ? null : owned(values));
  }

  /**
   * The tensor in the engine; uploaded first if it is not there. From then on JavaScript's copy is dropped, since kernels may change
   * tensors in place.
   * @throws Error for strings and complex numbers, which the engine has not
   */
  get handle(): Handle {
    this.upload();
    return this.#handle as Handle;
  }

  /** Moves the data to the engine now. */
  upload(): void {
    if (this.#handle !== null) return;
    this.#handle = upload(this.#values as Elements, this.dtype);
    this.#values = null;
    if (this.#kind !== memoryKinds.tensor) addon().setKind(this.#handle, this.#kind);
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

  /** As `handle`, of the elements converted to a type that holds them all. */
  handleAs(dtype: tf.DataType): Handle {
    if (dtype === this.dtype) return this.handle;
    if (this.#converted?.dtype !== dtype) {
      if (this.#converted !== null) addon().free(this.#converted.handle);
      this.#converted = { dtype, handle: addon().cast(this.handle, storageCodes[dtype as keyof typeof storageCodes]) };
    }
    return this.#converted.handle;
  }

  /** The values for a kernel of tfjs: where they lie if that is possible, else a copy. Do not change them, nor keep them: they are gone with the tensor. */
  get values(): tf.backend_util.BackendValues {
    if (this.#view !== null) return this.#view;
    if (this.#handle === null) return this.#values as tf.backend_util.BackendValues;
    if (!hasView(this.#handle)) return addon().read(this.#handle);
    this.#view = addon().lend(this.#handle);
    lent.add(this.#view.buffer);
    return this.#view;
  }

  /** The values where they lie, if `canBeSeen`. They stay as long as they are held. */
  see(): tf.backend_util.BackendValues {
    if (this.#handle === null) return this.#values as tf.backend_util.BackendValues;
    return (this.#shown ??= addon().view(this.#handle));
  }

  /** tfjs's CPU kernels write here what they made. */
  set values(values: tf.backend_util.BackendValues) {
    const kept = owned(values);
    this.free();
    this.#values = kept;
  }

  /** A copy of the values. */
  read(): tf.backend_util.BackendValues {
    return this.#handle === null ? (this.#values as tf.backend_util.BackendValues) : addon().read(this.#handle);
  }

  free(): void {
    if (this.#handle !== null) {
      if (this.#view !== null) addon().endLoan(this.#handle, this.#view.buffer);
      if (this.#converted !== null) addon().free(this.#converted.handle);
      addon().free(this.#handle);
    }
    this.#view = this.#shown = null;
    this.#converted = null;
    this.#handle = null;
    this.#values = null;
  }
}

/** Buffers of views that kernels of tfjs read. */
const lent = new WeakSet<ArrayBufferLike>();

/** Values to keep: a copy where they are part of what was lent (kernels of tfjs may return a part of an operand), which goes with its tensor. */
function owned(values: tf.backend_util.BackendValues): tf.backend_util.BackendValues {
  return ArrayBuffer.isView(values) && lent.has(values.buffer) ? values.slice() : values;
}

function hasView(handle: Handle): boolean {
  const storage = addon().storageOf(handle);
  return storage !== storageCodes.float16 && storage !== storageCodes.bfloat16;
}

function upload(values: Elements, dtype: tf.DataType): Handle {
  if (dtype === 'float32')
    return addon().uploadFloats(values instanceof Float32Array ? values : Float32Array.from(values), 0);
  if (dtype === 'int32') return addon().uploadIntegers(values instanceof Int32Array ? values : Int32Array.from(values));
  if (dtype === 'bool') return addon().uploadBooleans(values instanceof Uint8Array ? values : Uint8Array.from(values));
  throw new Error(`The engine has no tensors of ${dtype}.`);
}
