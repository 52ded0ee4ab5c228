/** Reading a tensor's values without a copy, where the backend keeps them in memory that JavaScript can see. */
import { tf, type Tensor } from './tensors.ts';

/** A backend that can show values where they lie; null where it cannot (halves, for instance). */
interface ShowsValues {
  hostValues?(dataId: object): Float32Array | null;
}

/**
 * The values of a float32 tensor, row-major: where they lie if the backend can show them, else a copy. To be read at once and not to be
 * changed: kernels that run later may change in place what lies there.
 */
export function hostValues(tensor: Tensor): Float32Array {
  return (tf.backend() as ShowsValues).hostValues?.(tensor.dataId) ?? tensor.dataSync<'float32'>();
}
