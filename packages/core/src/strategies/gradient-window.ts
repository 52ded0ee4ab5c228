/** An accumulation window: gradients as sums over items, finished (divided, unscaled, checked) once when it closes. */
import { accumulateGradient } from '../autograd/accumulate.ts';
import { backward, type LossOutput } from '../autograd/backward.ts';
import { TensorloomError } from '../errors.ts';
import type { Module } from '../modules/module.ts';
import type { Parameter } from '../modules/parameter.ts';
import { clipFactor, clipGradientValues, scaleGradients } from '../optimizers/gradients.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { LossScaler } from '../precision/loss-scaler.ts';
import type { StateDict, Stateful, StoredState } from '../stateful.ts';
import { tf, type Tensor } from '../tensors.ts';
import type { ClipOptions, StepOptions, StepResult } from './strategy.ts';
import type { BackwardHooks } from './backward-hooks.ts';
import { checkLimits, checkOneLimit } from './clip-limits.ts';
import { ownGradients, type Reduction } from './reduction.ts';
import { readWindow, storeGradients } from './window-state.ts';

/** What is found when an optimizer's gradients are finished. */
interface Finished {
  /** Before clipping. */
  readonly norm: number;
  /** Undefined if they were finished ahead of the step, when nobody had been asked. */
  readonly discard: boolean | undefined;
}

/**
 * Micro-batches are added with the seed items × loss scale, so that a gradient in the window is the scaled sum over
 * items; closing divides by the window's items × the loss scale, whatever the sizes of the micro-batches were.
 *
 * Several optimizers may step by one window, each for its own parameters; it empties with the next micro-batch after.
 */
export class GradientWindow implements Stateful {
  #items = 0;
  #microBatches = 0;
  /** The loss scale that the window's gradients carry: the scaler's may change when the first of several optimizers steps. */
  #scale = 1;
  /** Whether gradients seen so far by steps of this window were finite: the scaler is told once, or again if a later optimizer's are not. */
  #reported: boolean | undefined;
  readonly #modules: Module[] = [];
  /** Optimizers whose gradients are finished, with what was found. */
  readonly #finished = new Map<Optimizer, Finished>();
  readonly #closedFor = new Set<Optimizer>();
  #snapshot: Tensor[] = [];

  constructor(
    readonly lossScaler: LossScaler,
    readonly reduction: Reduction = ownGradients,
  ) {}

  /** Items of the micro-batches so far (reviews; unmasked tokens for language modelling). */
  get items(): number {
    return this.#isOver ? 0 : this.#items;
  }

  get microBatches(): number {
    return this.#isOver ? 0 : this.#microBatches;
  }

  /** Micro-batches that optimizers may step by: also those of a window that another optimizer has closed. */
  get gathered(): number {
    return this.#microBatches;
  }

  /** An open window is stored with the gradients of these modules, in this order. `add` does it too; before a load it must be done. */
  addModule(module: Module): void {
    if (!this.#modules.includes(module)) this.#modules.push(module);
  }

  /**
   * Forward and backward of one micro-batch. The number of items is `items`, else that of the output, else 1.
   * @throws TensorloomError `BAD_OPTION` if it is not a whole number of at least 0, and what `backward` throws
   */
  add<T extends LossOutput>(
    module: Module,
    compute: () => T,
    items?: number,
    { onItems, onWalk, onParameterReady }: BackwardHooks = {},
  ): T {
    this.addModule(module);
    if (this.#isOver) this.#empty();
    if (this.#microBatches === 0) this.#scale = this.lossScaler.scale;
    let counted = 0;
    const output = backward(compute, {
      parameters: module.parameters(),
      seed: (result) => {
        counted = items ?? (result instanceof tf.Tensor ? 1 : (result.items ?? 1));
        if (!Number.isInteger(counted) || counted < 0)
          throw new TensorloomError(
            'BAD_OPTION',
            `A micro-batch has ${counted} items; it must be a whole number of at least 0.`,
          );
        onItems?.(this.#items + counted);
        return counted * this.#scale;
      },
      ...(onWalk && { onWalk }),
      ...(onParameterReady && { onParameterReady }),
    });
    this.#items += counted;
    this.#microBatches++;
    return output;
  }

  /**
   * Finishes the gradients of `optimizer` (once): reduces them, and finds what is left to multiply them with so that they are divided,
   * unscaled and clipped.
   * @param discard undefined if nobody has asked for it yet
   * @returns their global norm, which is not finite if any of them is not; there is no factor then
   */
  async #finish(
    optimizer: Optimizer,
    normType: number,
    discard: boolean | undefined,
    factorFor: (norm: number) => number,
  ): Promise<{ readonly norm: number; readonly factor: number }> {
    const { parameters } = optimizer;
    if (this.#finished.has(optimizer)) {
      const norm = await this.reduction.norm(parameters, normType);
      return { norm, factor: Number.isFinite(norm) ? factorFor(norm) : 1 };
    }
    const totals = await this.reduction.reduce(parameters, this.#items, discard ?? false);
    // Dividing and clipping are one pass over the gradients. Without items all gradients are zero.
    const share = 1 / (Math.max(totals.items, 1) * this.#scale);
    const norm = (await this.reduction.norm(parameters, normType)) * share;
    this.#finished.set(optimizer, { norm, discard: discard === undefined ? undefined : totals.discard });
    return { norm, factor: Number.isFinite(norm) ? share * factorFor(norm) : 1 };
  }

  /**
   * Finishes and clips the gradients of `optimizer` ahead of `close`.
   * @returns the global norm before clipping
   * @throws TensorloomError `BAD_OPTION` unless exactly one limit is given and is at least 0
   */
  async clip(optimizer: Optimizer, { clipNorm, clipValue, normType = 2 }: ClipOptions): Promise<number> {
    checkOneLimit({ clipNorm, clipValue });
    checkLimits({ clipNorm, clipValue });
    const { norm, factor } = await this.#finish(optimizer, normType, undefined, (found) =>
      clipNorm === undefined ? 1 : clipFactor(found, clipNorm),
    );
    scaleGradients(optimizer.parameters, factor);
    if (clipValue !== undefined && Number.isFinite(norm)) clipGradientValues(optimizer.parameters, clipValue);
    return norm;
  }

  /**
   * Finishes the gradients of `optimizer`, clips them, steps if they are finite, and zeroes them in any case.
   * @throws TensorloomError `CONFLICTING_OPTIONS` for two limits at once
   */
  async close(optimizer: Optimizer, { clipNorm, clipValue, discard = false }: StepOptions): Promise<StepResult> {
    if (clipNorm !== undefined && clipValue !== undefined)
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        `A step clips by norm or by value; got both clipNorm ${clipNorm} and clipValue ${clipValue}.`,
      );
    checkLimits({ clipNorm, clipValue });
    if (this.#microBatches === 0 || this.#closedFor.has(optimizer)) return { closed: false, stepped: false };
    const { norm, factor } = await this.#finish(optimizer, 2, discard, (found) =>
      clipNorm === undefined ? 1 : clipFactor(found, clipNorm),
    );
    const finished = this.#finished.get(optimizer);
    const discarded = finished?.discard ?? (await this.reduction.agree(discard));
    const stepped = this.#report(Number.isFinite(norm)) && !discarded;
    if (stepped) {
      if (clipValue !== undefined) {
        scaleGradients(optimizer.parameters, factor);
        clipGradientValues(optimizer.parameters, clipValue);
      }
      // Else the update scales them on its way: one pass over the gradients less.
      optimizer.step(clipValue === undefined ? { gradientScale: factor } : {});
    }
    optimizer.zeroGrad();
    this.#closedFor.add(optimizer);
    return { closed: true, stepped, gradientNorm: finished?.norm ?? norm, ...(discarded && { discarded }) };
  }

  /** Tells the scaler about the gradients of one optimizer; returns whether to take its step. */
  #report(finite: boolean): boolean {
    const isNews = this.#reported === undefined || (this.#reported && !finite);
    this.#reported = finite && this.#reported !== false;
    return (isNews ? this.lossScaler.update(finite) : true) && finite;
  }

  /** Forgets what is in the window and zeroes the modules' gradients. */
  discard(): void {
    this.reduction.settle?.();
    for (const parameter of this.#named().values()) {
      parameter.zeroGrad();
      this.reduction.shardOf?.(parameter)?.parameter.zeroGrad();
    }
    this.#empty();
  }

  /**
   * Counts and, of an open window, this rank's gradients: `N.NAME` (dense), or `N.NAME.rows` and `N.NAME.indices`, with N the number of
   * the module; `N.NAME.shard` where this rank has the sum of all ranks' for some rows. The tensors are valid until the next micro-batch or step.
   * @throws TensorloomError `MISUSE` between `clip` and `close`: those gradients are no sums any more
   */
  stateDict(): StateDict {
    if (this.#finished.size > 0 && !this.#isOver)
      throw new TensorloomError(
        'MISUSE',
        'A checkpoint was asked for between clipGradients and step, when gradients are divided already. Save after the step.',
      );
    this.#dropSnapshot();
    this.reduction.settle?.();
    const { tensors, made, firstRows } =
      this.microBatches > 0 ? storeGradients(this.#named(), this.reduction) : { tensors: {}, made: [], firstRows: {} };
    this.#snapshot = made;
    return {
      tensors,
      values: { items: this.items, microBatches: this.microBatches, scale: this.#scale, firstRows },
      scope: 'rank',
    };
  }

  /**
   * Replaces the window and the modules' gradients. What another number of ranks had gathered goes to rank zero as a whole, so that the
   * window's sum is what it was; micro-batches are shared out evenly then.
   * @throws TensorloomError `BAD_CHECKPOINT` naming everything that does not fit; nothing is changed then
   */
  loadStateDict(state: StoredState): void {
    const { items, microBatches, scale, gradients } = readWindow(state, this.#named(), this.reduction);
    this.discard();
    for (const [parameter, create] of gradients) accumulateGradient(parameter, create());
    this.#items = items;
    this.#microBatches = microBatches;
    this.#scale = scale;
  }

  get #isOver(): boolean {
    return this.#closedFor.size > 0;
  }

  #empty(): void {
    this.#items = this.#microBatches = 0;
    this.#reported = undefined;
    this.#finished.clear();
    this.#closedFor.clear();
    this.#dropSnapshot();
  }

  #dropSnapshot(): void {
    for (const tensor of this.#snapshot) tensor.dispose();
    this.#snapshot = [];
  }

  /** Parameters of all modules by the number of the module and their name. */
  #named(): Map<string, Parameter> {
    return new Map(
      this.#modules.flatMap((module, i) =>
        [...module.namedParameters()].map(([name, parameter]) => [`${i}.${name}`, parameter]),
      ),
    );
  }
}
