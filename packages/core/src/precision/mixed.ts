/** Precisions with float32 master weights and half-precision activations: 16-mixed, bf16-mixed (Micikevicius et al., 2018). */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { withActivationStorage } from './activation-storage.ts';
import { DynamicLossScaler, NoLossScaler, type LossScaler } from './loss-scaler.ts';
import { precisions, type Precision } from './precision.ts';

/** float32 parameters, gradients and optimizer state; half-precision activations. */
export class MixedPrecision implements Precision {
  readonly name: string;
  readonly parameterStorage: FloatStorage = 'float32';
  readonly activationStorage: FloatStorage;
  readonly lossScaler: LossScaler;

  /** @param lossScaler default: dynamic for float16, none for bfloat16, which has float32's range */
  constructor(name: string, storage: 'float16' | 'bfloat16', lossScaler?: LossScaler) {
    this.name = name;
    this.activationStorage = storage;
    this.lossScaler = lossScaler ?? (storage === 'float16' ? new DynamicLossScaler() : new NoLossScaler());
  }

  autocast<T>(accelerator: Accelerator, fn: () => T): T {
    return withActivationStorage(accelerator, this.activationStorage, fn);
  }
}

precisions.register('16-mixed', () => new MixedPrecision('16-mixed', 'float16'));
precisions.register('bf16-mixed', () => new MixedPrecision('bf16-mixed', 'bfloat16'));
