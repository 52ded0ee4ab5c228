/** Loss scaling for half-precision gradients (Micikevicius et al., 2018, section 3.2), with PyTorch's GradScaler's constants. */
import { TensorloomError } from '../errors.ts';
import type { StateDict, Stateful, StoredState } from '../stateful.ts';

/** Decides what the loss is multiplied with, and whether a step is taken. */
export interface LossScaler extends Stateful {
  /** What the loss is multiplied with. */
  readonly scale: number;
  /** Call once per optimizer step: `finite` tells whether all unscaled gradients were; returns whether to take the step. */
  update(finite: boolean): boolean;
}

/** Scale 1. Steps whose gradients are not finite are skipped all the same. */
export class NoLossScaler implements LossScaler {
  readonly scale = 1;

  update(finite: boolean): boolean {
    return finite;
  }

  stateDict(): StateDict {
    return { tensors: {}, values: {} };
  }

  /** A scale of another precision's checkpoint means nothing here. */
  loadStateDict(): void {}
}

/** Defaults are PyTorch's: 65536, 2, 0.5, 2000. */
export interface DynamicLossScalerOptions {
  readonly initialScale?: number;
  /** Factor after `growthInterval` good steps in a row. */
  readonly growthFactor?: number;
  /** Factor after a step whose gradients were not finite. */
  readonly backoffFactor?: number;
  /** In optimizer steps. */
  readonly growthInterval?: number;
}

/** Grows while all goes well, backs off when gradients overflow, so that small gradients do not vanish in half precision. */
export class DynamicLossScaler implements LossScaler {
  readonly growthFactor: number;
  readonly backoffFactor: number;
  readonly growthInterval: number;
  #scale: number;
  #goodSteps = 0;

  /** @throws TensorloomError `BAD_OPTION` for factors that would not grow or not back off */
  constructor(options: DynamicLossScalerOptions = {}) {
    const { initialScale = 65536, growthFactor = 2, backoffFactor = 0.5, growthInterval = 2000 } = options;
    const check = (good: boolean, what: string): void => {
      if (!good) throw new TensorloomError('BAD_OPTION', `DynamicLossScaler: ${what}.`);
    };
    check(initialScale > 0 && Number.isFinite(initialScale), `initialScale is positive, not ${initialScale}`);
    check(growthFactor > 1, `growthFactor is above 1, not ${growthFactor}`);
    check(backoffFactor > 0 && backoffFactor < 1, `backoffFactor lies between 0 and 1, not at ${backoffFactor}`);
    check(
      Number.isInteger(growthInterval) && growthInterval >= 1,
      `growthInterval is a number of steps, not ${growthInterval}`,
    );
    this.#scale = initialScale;
    this.growthFactor = growthFactor;
    this.backoffFactor = backoffFactor;
    this.growthInterval = growthInterval;
  }

  get scale(): number {
    return this.#scale;
  }

  /** Steps since the scale last changed. */
  get goodSteps(): number {
    return this.#goodSteps;
  }

  update(finite: boolean): boolean {
    if (!finite) {
      this.#scale *= this.backoffFactor;
      this.#goodSteps = 0;
      return false;
    }
    this.#goodSteps++;
    if (this.#goodSteps === this.growthInterval) {
      // Beyond the range of float32 the scaled loss would be infinite for ever.
      const grown = this.#scale * this.growthFactor;
      if (Number.isFinite(Math.fround(grown))) this.#scale = grown;
      this.#goodSteps = 0;
    }
    return true;
  }

  stateDict(): StateDict {
    return { tensors: {}, values: { scale: this.#scale, goodSteps: this.#goodSteps } };
  }

  /** @throws TensorloomError `BAD_CHECKPOINT` if there is no scale in it */
  loadStateDict({ values }: StoredState): void {
    const { scale, goodSteps } = values;
    if (typeof scale !== 'number' || !(scale > 0) || !Number.isInteger(goodSteps))
      throw new TensorloomError('BAD_CHECKPOINT', `The stored loss scale is not one: ${JSON.stringify(values)}.`);
    this.#scale = scale;
    this.#goodSteps = goodSteps as number;
  }
}
