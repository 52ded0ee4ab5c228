/** Loss scaling for half-precision gradients (Micikevicius et al., 2018, section 3.2), with PyTorch's GradScaler's constants. */
import type { Stateful } from '../stateful.ts';

export interface LossScaler extends Stateful {
  /** What the loss is multiplied with. */
  readonly scale: number;
  /** Call once per optimizer step: `finite` tells whether all unscaled gradients were; returns whether to take the step. */
  update(finite: boolean): boolean;
}
