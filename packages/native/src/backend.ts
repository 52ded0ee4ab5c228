/** The tfjs backend `native`: tensors in the engine's memory; kernels of ours where there are, else tfjs's CPU kernels over views of that memory. */
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { tf, type FloatStorage } from '@tensorloom/core';
import { addon, storageCodes, type Handle } from './addon.ts';
import { kernels } from './kernels/index.ts';
import { TensorData } from './tensor-data.ts';

/** The name under which tfjs knows the backend. */
export const backendName = 'native';

type DataId = object;

/** Kernels of tfjs's CPU backend take it for their own: it answers to the same names. */
export class NativeBackend extends MathBackendCPU {
  /** How kernels store new float tensors, as the addon's code. */
  activationStorage: number = storageCodes.float32;

  /** How an element-wise kernel stores a new float tensor: scalars (losses, factors) are float32 always. */
  storageFor(shape: readonly number[]): number {
    return shape.length === 0 ? storageCodes.float32 : this.activationStorage;
  }

  /** What is known of a tensor's data. */
  dataOf(dataId: DataId): TensorData {
    return this.data.get(dataId) as unknown as TensorData;
  }

  /** The engine's handle of a tensor. */
  handle({ dataId, dtype }: tf.TensorInfo): Handle {
    return this.dataOf(dataId).handleAs(dtype);
  }

  /** A new tensor of what a kernel of the engine returned. */
  fromHandle(handle: Handle, shape: readonly number[], dtype: tf.DataType = 'float32'): tf.TensorInfo {
    return { dataId: this.#add(TensorData.inEngine(dtype, handle)), shape: [...shape], dtype };
  }

  /** Another tensor on the same data. */
  share(tensor: tf.TensorInfo, shape: readonly number[] = tensor.shape): tf.TensorInfo {
    this.incRef(tensor.dataId);
    return { dataId: tensor.dataId, shape: [...shape], dtype: tensor.dtype };
  }

  /** Whether no other tensor shares the data, so that kernels that say so may change them in place. */
  isExclusive({ dataId }: tf.TensorInfo): boolean {
    return this.dataOf(dataId).refCount === 1;
  }

  /** A new tensor with the same elements, stored alike, as the same kind of memory. */
  copy(tensor: tf.TensorInfo): tf.TensorInfo {
    const handle = this.handle(tensor);
    const copied = addon().uploadFloats(addon().read(handle) as Float32Array, addon().storageOf(handle));
    const copy = this.fromHandle(copied, tensor.shape, tensor.dtype);
    this.dataOf(copy.dataId).label(this.dataOf(tensor.dataId).kind);
    return copy;
  }

  /** The elements where they lie, so that who changes them changes the tensor; null if other tensors share them or they are stored as halves. */
  hostView(tensor: tf.TensorInfo): Float32Array | null {
    if (!this.isExclusive(tensor)) return null;
    const storage = addon().storageOf(this.handle(tensor));
    return storage === storageCodes.float32 ? (this.dataOf(tensor.dataId).see() as Float32Array) : null;
  }

  /** The elements of a float32 tensor where they lie, to be changed; the array is emptied when the tensor is disposed. */
  lend(tensor: tf.TensorInfo): Float32Array {
    const data = this.dataOf(tensor.dataId);
    data.upload();
    return data.values as Float32Array;
  }

  /** Float tensors go to the engine at once where they are to be halves. */
  override write(values: tf.backend_util.BackendValues | null, shape: number[], dtype: tf.DataType): DataId {
    const storage = this.storageFor(shape);
    if (storage === storageCodes.float32 || dtype !== 'float32' || values === null) {
      const data = TensorData.inJavaScript(dtype, values);
      if (isLarge(values) && dtype !== 'string') data.upload();
      return this.#add(data);
    }
    const floats = values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
    return this.#add(TensorData.inEngine(dtype, addon().uploadFloats(floats, storage)));
  }

  override move(
    dataId: DataId,
    values: tf.backend_util.BackendValues,
    _shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    const data = TensorData.inJavaScript(dtype, values);
    data.refCount = refCount;
    this.data.set(dataId, data);
  }

  override readSync(dataId: DataId): tf.backend_util.BackendValues {
    const data = this.dataOf(dataId);
    if (data.complexTensorInfos === undefined)
      return tf.util.convertBackendValuesAndArrayBuffer(data.read(), data.dtype);
    const { real, imag } = data.complexTensorInfos;
    return tf.backend_util.mergeRealAndImagArrays(
      this.readSync(real.dataId) as Float32Array,
      this.readSync(imag.dataId) as Float32Array,
    );
  }

  /** Values of a float tensor where they lie; null for halves, which JavaScript cannot see. */
  hostValues(dataId: DataId): Float32Array | null {
    const data = this.dataOf(dataId);
    return data.canBeSeen && data.dtype === 'float32' ? (data.see() as Float32Array) : null;
  }

  override disposeData(dataId: DataId, force = false): boolean {
    const data = this.data.has(dataId) ? this.dataOf(dataId) : null;
    const disposed = super.disposeData(dataId, force);
    if (disposed) data?.free();
    return disposed;
  }

  override memory(): { unreliable: boolean; reasons: string[] } {
    return { unreliable: false, reasons: [] };
  }

  #add(data: TensorData): DataId {
    const dataId = {};
    this.data.set(dataId, data);
    return dataId;
  }
}

/** Large arrays go to the engine as they come: JavaScript's copies of a model's weights would pile up until the first step. */
function isLarge(values: tf.backend_util.BackendValues | null): boolean {
  return ArrayBuffer.isView(values) && values.byteLength >= 1 << 20;
}

/** Registers the backend and its kernels with tfjs (once). */
export function registerNativeBackend(): void {
  if (tf.findBackendFactory(backendName) !== null) return;
  tf.registerBackend(backendName, () => new NativeBackend());
  const ours = new Set(kernels.map(({ kernelName }) => kernelName));
  for (const kernel of kernels) tf.registerKernel({ ...kernel, backendName });
  for (const kernel of tf.getKernelsForBackend('cpu'))
    if (!ours.has(kernel.kernelName)) tf.registerKernel({ ...kernel, backendName });
}

/** The active backend, which must be this one. */
export function nativeBackend(): NativeBackend {
  return tf.backend() as unknown as NativeBackend;
}

/** From here on kernels store new float tensors so. */
export function setActivationStorage(storage: FloatStorage | null): void {
  nativeBackend().activationStorage = storageCodes[(storage ?? 'float32') as keyof typeof storageCodes];
}

/** Starts the engine on this thread. */
export function startEngine(threads: number): void {
  addon().start(threads);
}
