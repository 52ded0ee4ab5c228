/** Dropout (Srivastava et al., 2014), scaled while training so that evaluation needs no change. */
import { TensorloomError } from '../errors.ts';
import { tf, type Tensor } from '../tensors.ts';
import { fusedOp, hasKernel } from './fused-op.ts';

/** Where dropout takes its randomness from: `RandomGenerator` is one. */
export interface SeedSource {
  /** A new 32-bit integer. */
  seed(): number;
}

/** Which elements are dropped: a function of the seed and of their places. */
export interface Dropping {
  readonly rate: number;
  /** An unsigned 32-bit integer. */
  readonly seed: number;
}

const kernelName = 'Dropout';

const apply = fusedOp<'x' | 'mask', never, Dropping>({
  name: kernelName,
  saves: ['mask'],
  residuals: [],
  // Kernels compute the mask from the attributes.
  kernel: { saves: [], residuals: [] },
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
  const dropping = drawDropping(rate, random);
  return apply({ x, ...(!hasKernel(kernelName) && { mask: maskOf(x.shape, dropping) }) }, dropping);
}

/**
 * A tensor of zeros (with probability `rate`) and 1 / (1 - rate).
 * @throws TensorloomError `BAD_OPTION` unless 0 <= rate < 1
 */
export function dropoutMask(shape: readonly number[], rate: number, random: SeedSource): Tensor {
  return maskOf(shape, drawDropping(rate, random));
}

/**
 * What is to be dropped this time; the same on every backend.
 * @throws TensorloomError `BAD_OPTION` unless 0 <= rate < 1
 */
export function drawDropping(rate: number, random: SeedSource): Dropping {
  if (!(rate >= 0 && rate < 1))
    throw new TensorloomError('BAD_OPTION', `The rate of dropout is ${rate}; it must be at least 0 and below 1.`);
  return { rate, seed: random.seed() >>> 0 };
}

/** A mask as a tensor, computed on the host. The generator is mulberry32, which a counter drives: kernels can begin at any element. */
export function maskOf(shape: readonly number[], { rate, seed }: Dropping): Tensor {
  const mask = new Float32Array(shape.reduce((product, n) => product * n, 1));
  const kept = 1 / (1 - rate);
  const threshold = rate * 2 ** 32;
  let state = seed | 0;
  for (let i = 0; i < mask.length; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    if ((bits ^ (bits >>> 14)) >>> 0 >= threshold) mask[i] = kept;
  }
  return tf.tensor(mask, [...shape], 'float32');
}
