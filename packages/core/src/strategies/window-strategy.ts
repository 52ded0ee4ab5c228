/** Base of strategies that gather gradients in a window, on one rank or on many. */
import type { LossOutput } from '../autograd/backward.ts';
import { TensorloomError } from '../errors.ts';
import type { Module } from '../modules/module.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { StateDict, StoredState } from '../stateful.ts';
import type { BackwardHooks } from './backward-hooks.ts';
import { GradientWindow } from './gradient-window.ts';
import { heldBytes } from './held-bytes.ts';
import { ownGradients, type Reduction } from './reduction.ts';
import type {
  BackwardRequest,
  ClipOptions,
  HeldBytes,
  StepOptions,
  StepResult,
  Strategy,
  StrategyContext,
} from './strategy.ts';

/**
 * A window of `accumulate` micro-batches on each rank, which closes when it is full, after the last micro-batch of an epoch, and when
 * `step` is told to flush. A subclass for several ranks says how gradients are reduced, and may watch backward to begin early.
 */
export class WindowStrategy implements Strategy {
  readonly #modules: Module[] = [];
  readonly #optimizers: Optimizer[] = [];
  #context: StrategyContext | null = null;
  #window: GradientWindow | null = null;
  #endOfEpoch = false;

  /**
   * @param name as the user gives it
   * @param accumulate micro-batches in a full window
   * @throws TensorloomError `BAD_OPTION` unless `accumulate` is a whole number of at least 1
   */
  constructor(
    readonly name: string,
    readonly accumulate: number,
  ) {
    if (!(Number.isInteger(accumulate) && accumulate >= 1))
      throw new TensorloomError(
        'BAD_OPTION',
        `accumulate is ${accumulate}; it must be a whole number of micro-batches, at least 1.`,
      );
  }

  setup(context: StrategyContext): void {
    this.#context = context;
    this.#window = new GradientWindow(context.precision.lossScaler, this.createReduction(context));
  }

  /** How gradients are reduced over the ranks; by default there is only this one. */
  protected createReduction(_context: StrategyContext): Reduction {
    return ownGradients;
  }

  /** What to do during the backward of the next micro-batch. @param closes the window is full, or its epoch over, after it */
  protected hooksFor(_module: Module, _closes: boolean): BackwardHooks {
    return {};
  }

  protected get context(): StrategyContext {
    if (this.#context === null) throw this.#notSetUp();
    return this.#context;
  }

  protected get window(): GradientWindow {
    if (this.#window === null) throw this.#notSetUp();
    return this.#window;
  }

  protected get modules(): readonly Module[] {
    return this.#modules;
  }

  protected get optimizers(): readonly Optimizer[] {
    return this.#optimizers;
  }

  setupModule(module: Module): Module | Promise<Module> {
    this.window.addModule(module);
    this.#modules.push(module);
    return module;
  }

  setupOptimizer(optimizer: Optimizer): Optimizer {
    this.#optimizers.push(optimizer);
    return optimizer;
  }

  backward<T extends LossOutput>(module: Module, compute: () => T, request: BackwardRequest): T {
    const { window } = this;
    const { precision, accelerator } = this.context;
    const closes = request.endOfEpoch || window.microBatches + 1 >= this.accumulate;
    const output = window.add(
      module,
      () => precision.autocast(accelerator, compute),
      request.items,
      this.hooksFor(module, closes),
    );
    this.#endOfEpoch = request.endOfEpoch;
    return output;
  }

  async noBackwardSync<T>(_module: Module, fn: () => Promise<T> | T): Promise<T> {
    return await fn();
  }

  async step(optimizer: Optimizer, options: StepOptions): Promise<StepResult> {
    if (!this.windowWillClose && options.flush !== true) return { closed: false, stepped: false };
    return await this.window.close(optimizer, options);
  }

  async clipGradients(optimizer: Optimizer, options: ClipOptions): Promise<number> {
    if (!this.windowWillClose)
      throw new TensorloomError(
        'MISUSE',
        `clipGradients was called in an open window (${this.window.microBatches} of ${this.accumulate} micro-batches). Clip when it is complete, or give clipNorm to step.`,
      );
    return await this.window.clip(optimizer, options);
  }

  get windowWillClose(): boolean {
    const { gathered } = this.window;
    return gathered >= this.accumulate || (gathered > 0 && this.#endOfEpoch);
  }

  heldBytes(): HeldBytes {
    return heldBytes(
      this.#modules.flatMap((module) => module.parameters()),
      this.#optimizers,
    );
  }

  stateDict(): StateDict {
    const { values, ...state } = this.window.stateDict();
    return { ...state, values: { ...values, accumulate: this.accumulate, endOfEpoch: this.#endOfEpoch } };
  }

  /**
   * @throws TensorloomError `BAD_CHECKPOINT` if the state does not fit or was stored with another window size while a window was open.
   *   With another number of ranks any window size goes: the window closes once it has gathered that many.
   */
  loadStateDict(state: StoredState): void {
    const { accumulate, microBatches, endOfEpoch } = state.values;
    const sameWorld = (state.byRank?.length ?? 1) === this.window.reduction.worldSize;
    if (sameWorld && microBatches !== 0 && accumulate !== this.accumulate)
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `The checkpoint was saved in an open window of ${JSON.stringify(accumulate)} micro-batches, but accumulate is ${this.accumulate}. Resume with the same value.`,
      );
    this.window.loadStateDict(state);
    this.#endOfEpoch = endOfEpoch === true;
  }

  #notSetUp(): TensorloomError {
    return new TensorloomError('NOT_LAUNCHED', `Strategy '${this.name}' is not set up; launch Fabric first.`);
  }
}
