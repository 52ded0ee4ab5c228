/** For tests: a loss scaler that never changes its scale and notes what it was told. */
import type { LossScaler } from '../precision/loss-scaler.ts';
import type { StateDict } from '../stateful.ts';

export class FixedScaler implements LossScaler {
  readonly updates: boolean[] = [];
  constructor(readonly scale: number) {}
  update(finite: boolean): boolean {
    this.updates.push(finite);
    return finite;
  }
  stateDict(): StateDict {
    return { tensors: {}, values: {} };
  }
  loadStateDict(): void {}
}
