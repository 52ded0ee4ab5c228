/** Arrays of zeros that are changed in place for long, in memory that the backend owns and counts, where it has such. */
import { labelMemory, type MemoryKind } from './memory-label.ts';
import { tf, type Tensor } from './tensors.ts';

/** What a backend has whose tensors lie in this process's memory. */
interface LendingBackend {
  /** The elements of a float32 tensor where they lie, to be changed; the array is emptied when the tensor is disposed. */
  lend?(tensor: tf.TensorInfo): Float32Array;
}

/** An array and what gives its memory back; `values` are not to be used any more then. */
export interface HostArray {
  readonly values: Float32Array;
  dispose(): void;
}

/** So many zeros: memory of the active backend, counted as `kind`, if it lends it, else JavaScript's. */
export function hostArray(length: number, kind: MemoryKind): HostArray {
  const backend = tf.backend() as LendingBackend;
  if (length === 0 || backend.lend === undefined) return { values: new Float32Array(length), dispose: () => {} };
  const tensor: Tensor = labelMemory(tf.keep(tf.fill([length], 0, 'float32')), kind);
  return { values: backend.lend(tensor), dispose: () => tensor.dispose() };
}
