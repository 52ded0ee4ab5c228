/** How numbers are stored and scaled during training. One file per family beside this one. */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { Registry } from '../registry.ts';
import type { LossScaler } from './loss-scaler.ts';

export interface Precision {
  /** `32-true`, `16-mixed`, … */
  readonly name: string;
  /** Storage of master weights and optimizer state. */
  readonly parameterStorage: FloatStorage;
  /** Storage of activations inside `autocast`. */
  readonly activationStorage: FloatStorage;
  /** Storage in which gradients travel between ranks. */
  readonly reductionStorage: FloatStorage;
  /** Scales the loss; the identity (scale 1, never skips) where the range of the storage needs none. */
  readonly lossScaler: LossScaler;
  /** Runs `fn` (synchronous) with activations stored as `activationStorage` on `accelerator`. Nests. */
  autocast<T>(accelerator: Accelerator, fn: () => T): T;
}

export type PrecisionFactory = () => Precision;
export const precisions = new Registry<PrecisionFactory>('precision');
