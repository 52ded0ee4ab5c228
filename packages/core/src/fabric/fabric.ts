/** Fabric: the user owns the loop, Fabric owns where and how it runs. The surface is Lightning Fabric's, in camelCase. */
import type { LossOutput } from '../autograd/backward.ts';
import { TensorloomError } from '../errors.ts';
import type { Module } from '../modules/module.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { StepOptions, StepResult } from '../strategies/strategy.ts';
import {
  checkBackwardOptions,
  checkClipOptions,
  checkStepOptions,
  type BackwardOptions,
  type ClipGradientsOptions,
} from './call-options.ts';
import type { AnyLoader, FabricDataLoader } from './fabric-data-loader.ts';
import { restoreParameters, wrapModule, type FabricModule } from './fabric-module.ts';
import { wrapOptimizer, type FabricOptimizer, type OptimizerInput } from './fabric-optimizer.ts';
import { FabricState } from './fabric-state.ts';
import type { FabricOptions } from './options.ts';
import { setUpBlocks, type BlockReport } from './set-up-blocks.ts';
import { setUpDataLoader, type SetUpDataLoaderOptions } from './set-up-data-loader.ts';
import type { BackwardResult, TrainingCounts } from './training-steps.ts';

/** The set-up form of each optimizer or factory. */
export type SetUpOptimizers<Inputs extends readonly OptimizerInput[]> = {
  [K in keyof Inputs]: Inputs[K] extends OptimizerInput<infer O> ? FabricOptimizer<O> : never;
};

/** What the user holds: see the README for a whole loop. Nothing happens before `launch`. */
export class Fabric extends FabricState {
  /** Loaders in the middle of a pass, the one that delivered last at the end. */
  readonly #passes = new Map<object, boolean>();
  readonly #blockReports = new WeakMap<Module, BlockReport>();

  constructor(options: FabricOptions = {}) {
    super(options);
    // A subclass that is a trainer: its `run` finds Fabric launched.
    const own: (...args: unknown[]) => Promise<unknown> = this.run.bind(this);
    this.run = async (...args: unknown[]) => {
      await this.launch();
      return this.abortingOnFailure(() => own(...args));
    };
  }

  /** Override this in a subclass to write a trainer; Fabric is launched before it runs. */
  async run(..._args: unknown[]): Promise<unknown> {
    throw new TensorloomError(
      'MISUSE',
      'Fabric.run does nothing by itself: override it in a subclass, or write the loop around a Fabric.',
    );
  }

  /**
   * Sets up a module and its optimizers (instances, or functions from the module's parameters to an optimizer).
   * @throws TensorloomError `NOT_LAUNCHED`; `MISUSE` for what was set up before, a module without parameters, an optimizer of other parameters
   */
  async setup<M extends Module>(module: M): Promise<FabricModule<M>>;
  async setup<M extends Module, Inputs extends readonly [OptimizerInput, ...OptimizerInput[]]>(
    module: M,
    ...optimizers: Inputs
  ): Promise<[FabricModule<M>, ...SetUpOptimizers<Inputs>]>;
  async setup<M extends Module>(module: M, ...optimizers: OptimizerInput[]): Promise<unknown> {
    this.assertLaunched('setup');
    this.known.checkNew(module, 'setup');
    // Optimizers are made and checked first: a refusal leaves the module as it was.
    const made = optimizers.map((input) => this.known.makeOptimizer(input, module));
    const wrapped = await this.setupModule(module);
    if (made.length === 0) return wrapped;
    return [wrapped, ...made.map((optimizer) => this.#wrapOptimizer(optimizer))];
  }

  /** Places a module on the device, in the precision's storage, and wraps it. */
  async setupModule<M extends Module>(module: M): Promise<FabricModule<M>> {
    this.assertLaunched('setupModule');
    this.known.checkNew(module, 'setupModule');
    module.parameters();
    const storage = this.precision.parameterStorage;
    if (storage !== 'float32') restoreParameters(module, this.accelerator, storage);
    const placed = (await this.strategy.setupModule(module)) as M;
    this.known.add(module, placed);
    this.#blockReports.set(placed, setUpBlocks(placed, this.accelerator, this.options));
    return wrapModule(placed, this.accelerator, this.precision);
  }

  /** How the blocks of a module that was set up run: compiled, recomputed in backward, or op by op. @throws TensorloomError `NOT_SET_UP` */
  blockReport(model: Module): BlockReport {
    return this.#blockReports.get(this.known.moduleBehind(model, 'blockReport')) as BlockReport;
  }

  /** Sets up optimizers of a module that has been set up before. Returns one, or as many as were given. */
  setupOptimizers<M extends Module, Inputs extends readonly [OptimizerInput, ...OptimizerInput[]]>(
    module: FabricModule<M>,
    ...optimizers: Inputs
  ): SetUpOptimizers<Inputs> {
    this.assertLaunched('setupOptimizers');
    const raw = this.known.moduleBehind(module, 'setupOptimizers');
    const made = optimizers.map((input) => this.known.makeOptimizer(input, raw));
    return made.map((optimizer) => this.#wrapOptimizer(optimizer)) as SetUpOptimizers<Inputs>;
  }

  /**
   * Wraps any iterable of batches: this rank's share, on the device, freed when the next batch is asked for. All ranks iterate over it. In
   * training they must have equally many batches, which each pass checks first where loaders know their length (`BAD_DATA` names the
   * ranks). In evaluation they need not: under strategies that communicate in forward, a rank whose pass has ended, also by `break`, takes
   * part in the others' until they have ended too.
   */
  setupDataLoader<Batch>(loader: AnyLoader<Batch>, options: SetUpDataLoaderOptions = {}): FabricDataLoader<Batch> {
    this.assertLaunched('setupDataLoader');
    const { strategy } = this;
    return setUpDataLoader(loader, this.processGroup, options, {
      delivered: (pass, isLastBatch) => {
        this.#passes.delete(pass);
        this.#passes.set(pass, isLastBatch);
      },
      ended: (pass) => this.#passes.delete(pass),
      ...(strategy.joinEvaluation && { joinEvaluation: () => strategy.joinEvaluation?.() }),
    });
  }

  setupDataLoaders<Batch>(
    loaders: readonly AnyLoader<Batch>[],
    options: SetUpDataLoaderOptions = {},
  ): FabricDataLoader<Batch>[] {
    return loaders.map((loader) => this.setupDataLoader(loader, options));
  }

  /**
   * Forward and backward of one micro-batch. The synchronous closure returns a scalar loss, or an object with one; the result is that
   * object with the loss as a number, its other tensors alive until the next backward. Gradients go into the strategy's window.
   * @throws TensorloomError `NOT_LAUNCHED`, `NOT_SET_UP`, `MISUSE`
   */
  async backward<T extends LossOutput>(
    model: Module,
    compute: () => T,
    options: BackwardOptions = {},
  ): Promise<BackwardResult<T>> {
    this.assertLaunched('backward');
    const module = this.known.moduleBehind(model, 'backward');
    if (typeof compute !== 'function')
      throw new TensorloomError(
        'MISUSE',
        'fabric.backward takes a closure that computes the loss: fabric.backward(model, () => model.forward(batch)).',
      );
    checkBackwardOptions(options);
    return this.steps.backward(module, compute, {
      endOfEpoch: [...this.#passes.values()].at(-1) ?? false,
      ...options,
    });
  }

  /**
   * Closes the window if it is full: reduce, divide by items, unscale, clip, step, zero. True if an optimizer step was taken; `lastStep` has details.
   * @throws TensorloomError `NON_FINITE` after `maxSkippedSteps` skipped steps in a row; `MISUSE`; `IO` if a logger has failed since
   */
  async step(optimizer: Optimizer, options: StepOptions = {}): Promise<boolean> {
    this.assertLaunched('step');
    const raw = this.known.optimizerBehind(optimizer, 'step');
    checkStepOptions(options);
    this.throwLogFailure();
    const { closed, stepped } = await this.steps.step(raw, options);
    return closed && stepped;
  }

  /**
   * Clips ahead of `step`, on gradients that are divided and unscaled (once). Returns their norm before clipping; undefined while the window stays open.
   * @throws TensorloomError `NON_FINITE` if asked for by `errorIfNonfinite` (default: such a step is skipped)
   */
  async clipGradients(model: Module, optimizer: Optimizer, options: ClipGradientsOptions): Promise<number | undefined> {
    this.assertLaunched('clipGradients');
    this.known.moduleBehind(model, 'clipGradients');
    const raw = this.known.optimizerBehind(optimizer, 'clipGradients');
    const norm = await this.steps.clipGradients(raw, checkClipOptions(options));
    if (options.errorIfNonfinite === true && norm !== undefined && !Number.isFinite(norm))
      throw new TensorloomError(
        'NON_FINITE',
        `The gradient's norm is ${norm}, so it cannot be clipped. Lower the learning rate, or leave errorIfNonfinite out to have such steps skipped.`,
      );
    return norm;
  }

  /** Runs `fn` without reducing gradients among ranks, for all micro-batches of a window but its last. */
  async noBackwardSync<T>(model: Module, enabled: boolean, fn: () => Promise<T> | T): Promise<T> {
    this.assertLaunched('noBackwardSync');
    const module = this.known.moduleBehind(model, 'noBackwardSync');
    return enabled ? this.strategy.noBackwardSync(module, fn) : fn();
  }

  /** What the last `step` did. */
  get lastStep(): StepResult | undefined {
    return this.steps.lastStep;
  }

  /** Micro-batches, steps and skipped steps so far; part of every checkpoint. */
  get counts(): Readonly<TrainingCounts> {
    return this.steps.counts;
  }

  protected override defaultStep(): number {
    return this.steps.counts.steps;
  }

  #wrapOptimizer(optimizer: Optimizer): FabricOptimizer<Optimizer> {
    const placed = this.strategy.setupOptimizer(optimizer);
    this.known.add(optimizer, placed);
    this.steps.register(placed);
    return wrapOptimizer(placed, () => this.steps.isAccumulating(placed));
  }
}
