/** Learning rate schedules, as transformers' `get_*_schedule_with_warmup`. */
import { TensorloomError } from '../errors.ts';
import { Registry } from '../registry.ts';
import type { StateDict, Stateful, StoredState } from '../stateful.ts';
import type { Optimizer } from './optimizer.ts';

/** Options of the schedules that come with the package. */
export interface ScheduleOptions {
  /** Steps over which the factor rises linearly from 0, default 0. */
  readonly warmupSteps?: number;
  /** Optimizer steps of the whole training; needed by `linear` and `cosine`. */
  readonly totalSteps?: number;
  /** Number of waves of `cosine`, default 0.5: down to 0 once. */
  readonly cycles?: number;
}

/** Factor of the base learning rate for the step after `step` steps. */
export type ScheduleFactor = (step: number) => number;

/** Schedules by name. */
export const schedules = new Registry<(options: ScheduleOptions) => ScheduleFactor>('schedule');

schedules.register(
  'constant',
  ({ warmupSteps = 0 }) =>
    (step) =>
      warmup(step, warmupSteps) ?? 1,
);
schedules.register('linear', (options) => {
  const { warmupSteps = 0 } = options;
  const totalSteps = total('linear', options);
  return (step) =>
    warmup(step, warmupSteps) ?? Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps));
});
schedules.register('cosine', (options) => {
  const { warmupSteps = 0, cycles = 0.5 } = options;
  const totalSteps = total('cosine', options);
  return (step) => {
    const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    return warmup(step, warmupSteps) ?? Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress)));
  };
});

function warmup(step: number, warmupSteps: number): number | null {
  return step < warmupSteps ? step / Math.max(1, warmupSteps) : null;
}

function total(name: string, { totalSteps }: ScheduleOptions): number {
  if (totalSteps === undefined || !(totalSteps > 0))
    throw new TensorloomError(
      'BAD_OPTION',
      `The schedule '${name}' needs totalSteps, the number of optimizer steps of the training; got ${totalSteps}.`,
    );
  return totalSteps;
}

/** Sets the learning rate of each group to its base value times the schedule's factor: at once, and after each `step()`. */
export class LearningRateSchedule implements Stateful {
  readonly #optimizer: Optimizer;
  readonly #baseRates: number[];
  readonly #factor: ScheduleFactor;
  #steps = 0;

  /**
   * Takes the groups' present learning rates as base.
   * @throws UnknownNameError for a name that is not in `schedules`; TensorloomError `BAD_OPTION` for options that do not make sense
   */
  constructor(optimizer: Optimizer, name: string, options: ScheduleOptions = {}) {
    const { warmupSteps = 0 } = options;
    if (!(Number.isInteger(warmupSteps) && warmupSteps >= 0))
      throw new TensorloomError(
        'BAD_OPTION',
        `warmupSteps is ${warmupSteps}; it must be a whole number of at least 0.`,
      );
    this.#factor = schedules.get(name)(options);
    this.#optimizer = optimizer;
    this.#baseRates = optimizer.groups.map((group) => group.lr);
    this.#apply();
  }

  /** Number of `step()` calls. */
  get steps(): number {
    return this.#steps;
  }

  /** Call after each optimizer step. */
  step(): void {
    this.#steps++;
    this.#apply();
  }

  #apply(): void {
    const factor = this.#factor(this.#steps);
    for (const [i, group] of this.#optimizer.groups.entries()) group.lr = (this.#baseRates[i] as number) * factor;
  }

  stateDict(): StateDict {
    return { tensors: {}, values: { steps: this.#steps, baseRates: [...this.#baseRates] } };
  }

  /** @throws TensorloomError `BAD_CHECKPOINT` if the state is not one of a schedule of as many groups */
  loadStateDict({ values }: StoredState): void {
    const { steps, baseRates } = values;
    if (
      typeof steps !== 'number' ||
      !Array.isArray(baseRates) ||
      baseRates.length !== this.#baseRates.length ||
      !baseRates.every((rate) => typeof rate === 'number')
    )
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `The stored state is not one of a schedule of ${this.#baseRates.length} parameter groups.`,
      );
    this.#steps = steps;
    this.#baseRates.splice(0, Infinity, ...baseRates);
    this.#apply();
  }
}
