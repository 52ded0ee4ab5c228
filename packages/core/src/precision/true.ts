/** Precisions with one storage for everything: 64-true, 32-true, 16-true, bf16-true. */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { withActivationStorage } from './activation-storage.ts';
import { NoLossScaler, type LossScaler } from './loss-scaler.ts';
import { precisions, type Precision } from './precision.ts';

/** One storage for parameters and activations; the loss is not scaled. */
export class TruePrecision implements Precision {
  readonly name: string;
  readonly parameterStorage: FloatStorage;
  readonly activationStorage: FloatStorage;
  readonly lossScaler: LossScaler = new NoLossScaler();

  constructor(name: string, storage: FloatStorage) {
    this.name = name;
    this.parameterStorage = storage;
    this.activationStorage = storage;
  }

  autocast<T>(accelerator: Accelerator, fn: () => T): T {
    return withActivationStorage(accelerator, this.activationStorage, fn);
  }
}

precisions.register('32-true', () => new TruePrecision('32-true', 'float32'));
precisions.register('64-true', () => new TruePrecision('64-true', 'float64'));
precisions.register('16-true', () => new TruePrecision('16-true', 'float16'));
precisions.register('bf16-true', () => new TruePrecision('bf16-true', 'bfloat16'));
