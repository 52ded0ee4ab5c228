/** How numbers are stored and scaled during training. One file per family beside this one. */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { Registry } from '../registry.ts';
import type { LossScaler } from './loss-scaler.ts';

/** Which storage serves what, and how the loss is scaled. */
export interface Precision {
  /** `32-true`, `16-mixed`, … */
  readonly name: string;
  /** Storage of parameters (master weights, where activations are smaller). Gradients and optimizer state are float32 in any case; what gradients travel as is an option of strategies. */
  readonly parameterStorage: FloatStorage;
  /** Storage of activations inside `autocast`. */
  readonly activationStorage: FloatStorage;
  /** Scales the loss; the identity (scale 1, never skips) where the range of the storage needs none. */
  readonly lossScaler: LossScaler;
  /** Runs `fn` (synchronous) with activations stored as `activationStorage` on `accelerator`. Nests. */
  autocast<T>(accelerator: Accelerator, fn: () => T): T;
}

/** Each Fabric gets a precision, with a loss scaler, of its own. */
export type PrecisionFactory = () => Precision;
/** Precisions by full name; register your own here. */
export const precisions = new Registry<PrecisionFactory>('precision');
