/** Tensors that lie in this process's memory, seen as arrays. */
import { tf, type Tensor } from './tensors.ts';

/** What a backend has whose tensors lie in this process's memory. */
interface HostMemoryBackend {
  /** The elements where they lie, so that who changes them changes the tensor; null if other tensors share them or they are not stored as float32. */
  hostView(tensor: tf.TensorInfo): Float32Array | null;
}

/** The elements of a float32 tensor where they lie, for as long as the tensor lives; null where only a copy can be had. */
export function hostView(tensor: Tensor): Float32Array | null {
  return (tf.backend() as unknown as Partial<HostMemoryBackend>).hostView?.(tensor) ?? null;
}
