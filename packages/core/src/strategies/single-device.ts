/** One device: a window of one micro-batch, or of several for strategies made of this one. */
import type { LossOutput } from '../autograd/backward.ts';
import { TensorloomError } from '../errors.ts';
import type { Module } from '../modules/module.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { StateDict, StoredState } from '../stateful.ts';
import { GradientWindow } from './gradient-window.ts';
import {
  strategies,
  type BackwardRequest,
  type ClipOptions,
  type StepOptions,
  type StepResult,
  type Strategy,
  type StrategyContext,
  type StrategyOptions,
} from './strategy.ts';

/** The strategy `single`, and the base of those that differ only in the size of the window. */
export class SingleDeviceStrategy implements Strategy {
  #context: StrategyContext | null = null;
  #window: GradientWindow | null = null;
  #endOfEpoch = false;

  /**
   * @param name as the user gives it
   * @param accumulate micro-batches in a full window
   * @throws TensorloomError `BAD_OPTION` unless `accumulate` is a whole number of at least 1
   */
  constructor(
    readonly name = 'single',
    readonly accumulate = 1,
  ) {
    if (!(Number.isInteger(accumulate) && accumulate >= 1))
      throw new TensorloomError(
        'BAD_OPTION',
        `accumulate is ${accumulate}; it must be a whole number of micro-batches, at least 1.`,
      );
  }

  setup(context: StrategyContext): void {
    const { worldSize } = context.processGroup;
    if (worldSize !== 1)
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        `Strategy '${this.name}' runs on one device, but there are ${worldSize} ranks. Set devices to 1, or choose a strategy for several.`,
      );
    this.#context = context;
    this.#window = new GradientWindow(context.precision.lossScaler);
  }

  setupModule(module: Module): Module {
    this.#open.addModule(module);
    return module;
  }

  setupOptimizer(optimizer: Optimizer): Optimizer {
    return optimizer;
  }

  backward<T extends LossOutput>(module: Module, compute: () => T, request: BackwardRequest): T {
    const window = this.#open;
    const { precision, accelerator } = this.#context as StrategyContext;
    const output = window.add(module, () => precision.autocast(accelerator, compute), request.items);
    this.#endOfEpoch = request.endOfEpoch;
    return output;
  }

  async noBackwardSync<T>(_module: Module, fn: () => Promise<T> | T): Promise<T> {
    return await fn();
  }

  async step(optimizer: Optimizer, options: StepOptions): Promise<StepResult> {
    if (!this.windowWillClose && options.flush !== true) return { closed: false, stepped: false };
    return await this.#open.close(optimizer, options);
  }

  async clipGradients(optimizer: Optimizer, options: ClipOptions): Promise<number> {
    if (!this.windowWillClose)
      throw new TensorloomError(
        'MISUSE',
        `clipGradients was called in an open window (${this.#open.microBatches} of ${this.accumulate} micro-batches). Clip when it is complete, or give clipNorm to step.`,
      );
    return await this.#open.clip(optimizer, options);
  }

  get windowWillClose(): boolean {
    const { gathered } = this.#open;
    return gathered >= this.accumulate || (gathered > 0 && this.#endOfEpoch);
  }

  stateDict(): StateDict {
    const { tensors, values } = this.#open.stateDict();
    return { tensors, values: { ...values, accumulate: this.accumulate, endOfEpoch: this.#endOfEpoch } };
  }

  /** @throws TensorloomError `BAD_CHECKPOINT` if the state does not fit or was stored with another window size while a window was open */
  loadStateDict(state: StoredState): void {
    const { accumulate, microBatches, endOfEpoch } = state.values;
    if (microBatches !== 0 && accumulate !== this.accumulate)
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `The checkpoint was saved in an open window of ${JSON.stringify(accumulate)} micro-batches, but accumulate is ${this.accumulate}. Resume with the same value.`,
      );
    this.#open.loadStateDict(state);
    this.#endOfEpoch = endOfEpoch === true;
  }

  get #open(): GradientWindow {
    if (this.#window === null)
      throw new TensorloomError('NOT_LAUNCHED', `Strategy '${this.name}' is not set up; launch Fabric first.`);
    return this.#window;
  }
}

/** Refuses options that a strategy does not know. @throws TensorloomError `BAD_OPTION` naming those that it has */
export function refuseUnknownOptions(strategy: string, given: StrategyOptions, known: readonly string[]): void {
  for (const option of Object.keys(given))
    if (!known.includes(option))
      throw new TensorloomError(
        'BAD_OPTION',
        `Strategy '${strategy}' has no option '${option}'. It has ${known.length === 0 ? 'none' : known.join(', ')}.`,
      );
}

strategies.register('single', {
  reach: 'single',
  summary: 'one device, one micro-batch per step',
  create: (options) => {
    refuseUnknownOptions('single', options, []);
    return new SingleDeviceStrategy();
  },
});
