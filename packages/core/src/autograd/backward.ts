/** Reverse-mode differentiation by our own walk over tfjs's tape (see README). */
import type { Parameter } from '../modules/parameter.ts';
import type { Scalar } from '../tensors.ts';

/**
 * What the closure given to `backward` returns: a scalar loss, or an object with one and anything else (logits).
 * `items` is the number of items (reviews; unmasked tokens for language modelling) that `loss` is the mean over; default 1.
 */
export type LossOutput = Scalar | { readonly loss: Scalar; readonly items?: number };

export interface BackwardOptions {
  /** Seed of the walk, d(objective)/d(loss): number of items × loss scale. Default 1. */
  readonly seed?: number;
  /** Parameters that take part; a gradient is added into each one's `grad`. */
  readonly parameters: Iterable<Parameter>;
  /** Called during the walk as soon as a parameter's gradient is complete. */
  readonly onParameterReady?: (parameter: Parameter) => void;
}

/**
 * Runs `compute` while recording, then walks the tape backwards, freeing as it goes, and adds the gradients into
 * `parameter.grad`. Returns what `compute` returned; its tensors belong to the caller.
 */
export declare function backward<T extends LossOutput>(compute: () => T, options: BackwardOptions): T;
