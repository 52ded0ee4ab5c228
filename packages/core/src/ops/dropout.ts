/** Dropout (Srivastava et al., 2014), scaled while training so that evaluation needs no change. */
import { TensorloomError } from '../errors.ts';
import { tf, type Tensor } from '../tensors.ts';
import { fusedOp } from './fused-op.ts';

/** Where dropout takes its randomness from: `RandomGenerator` is one. */
export interface SeedSource {
  /** A new 32-bit integer. */
  seed(): number;
}

const apply = fusedOp<'x' | 'mask', never, object>({
  name: 'Dropout',
  saves: ['mask'],
  residuals: [],
  differentiates: ['x'],
  forward: ({ x, mask }) => ({ output: tf.mul(x, mask) }),
  backward: (dy, { mask }) => ({ x: () => tf.mul(dy, mask) }),
});

/**
 * Zeroes each element of `x` with probability `rate` and divides the others by `1 - rate`. With rate 0 it returns `x` itself.
 * @throws TensorloomError `BAD_OPTION` unless 0 <= rate < 1
 */
export function dropout(x: Tensor, rate: number, random: SeedSource): Tensor {
  if (rate === 0) return x;
  return apply({ x, mask: dropoutMask(x.shape, rate, random) }, {});
}

/**
 * A tensor of zeros (with probability `rate`) and 1 / (1 - rate). Drawn on the host from one seed, so that every backend
 * has the same mask; the generator is mulberry32, which a counter drives.
 */
export function dropoutMask(shape: readonly number[], rate: number, random: SeedSource): Tensor {
  if (!(rate >= 0 && rate < 1))
    throw new TensorloomError('BAD_OPTION', `The rate of dropout is ${rate}; it must be at least 0 and below 1.`);
  const mask = new Float32Array(shape.reduce((product, n) => product * n, 1));
  const kept = 1 / (1 - rate);
  const threshold = rate * 2 ** 32;
  let state = random.seed() | 0;
  for (let i = 0; i < mask.length; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    if ((bits ^ (bits >>> 14)) >>> 0 >= threshold) mask[i] = kept;
  }
  return tf.tensor(mask, [...shape], 'float32');
}
