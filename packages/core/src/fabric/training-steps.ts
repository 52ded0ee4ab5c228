/** Backward and step as Fabric does them: extra outputs kept alive, losses watched, skipped steps counted, progress in checkpoints. */
import type { LossOutput } from '../autograd/backward.ts';
import { TensorloomError } from '../errors.ts';
import type { Module } from '../modules/module.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { LossScaler } from '../precision/loss-scaler.ts';
import type { StateDict, Stateful, StoredState } from '../stateful.ts';
import type { BackwardRequest, ClipOptions, StepOptions, StepResult, Strategy } from '../strategies/strategy.ts';
import { isTensor, tf, type Scalar, type Tensor } from '../tensors.ts';
import { tensorsIn } from './fabric-data-loader.ts';

/** What `fabric.backward` returns: the closure's output with the loss as a number. Its tensors live until the next backward. */
export type BackwardResult<T extends LossOutput> = T extends Scalar
  ? { loss: number }
  : Omit<T, 'loss'> & { loss: number };

/** How far training is; part of every checkpoint. */
export interface TrainingCounts {
  microBatches: number;
  /** Optimizer steps taken. */
  steps: number;
  /** Optimizer steps skipped, for losses or gradients that were not finite. */
  skippedSteps: number;
  /** Of those, the ones since the last step taken that no loss scale explains. */
  skippedInARow: number;
  /** The window had a loss that was not finite (1 or 0). */
  windowSpoiled: number;
  /** An optimizer has closed the window: the next micro-batch opens another (1 or 0). */
  windowClosed: number;
}

export class TrainingSteps implements Stateful {
  readonly counts: TrainingCounts = {
    microBatches: 0,
    steps: 0,
    skippedSteps: 0,
    skippedInARow: 0,
    windowSpoiled: 0,
    windowClosed: 0,
  };
  lastStep: StepResult | undefined;
  readonly #strategy: Strategy;
  readonly #lossScaler: LossScaler;
  readonly #maxSkippedSteps: number;
  /** Micro-batches since each optimizer's window was last closed. */
  readonly #pending = new Map<Optimizer, number>();
  #extras: Tensor[] = [];
  /** A step of this window has brought the loss scale down. */
  #scaleCameDown = false;
  #running = false;

  constructor(strategy: Strategy, lossScaler: LossScaler, maxSkippedSteps: number) {
    this.#strategy = strategy;
    this.#lossScaler = lossScaler;
    this.#maxSkippedSteps = maxSkippedSteps;
  }

  register(optimizer: Optimizer): void {
    this.#pending.set(optimizer, 0);
  }

  isAccumulating(optimizer: Optimizer): boolean {
    return (this.#pending.get(optimizer) ?? 0) > 0;
  }

  async backward<T extends LossOutput>(
    module: Module,
    compute: () => T,
    request: BackwardRequest,
  ): Promise<BackwardResult<T>> {
    if (this.#running)
      throw new TensorloomError(
        'MISUSE',
        'fabric.backward was called before an earlier call of it had ended; await each call.',
      );
    this.#running = true;
    this.#freeExtras();
    try {
      const firstId = nextTensorId();
      const output = this.#strategy.backward(module, () => checked(compute()), request);
      const lossTensor = lossOf(output);
      const loss = (await lossTensor.data())[0] as number;
      lossTensor.dispose();
      // What the closure made is ours to free; what it only passed on (its batch) is not.
      const result: { loss: number } = isTensor(output) ? { loss } : { ...(output as object), loss };
      this.#extras = tensorsIn(result).filter((tensor) => tensor.id > firstId && !tensor.kept);
      this.#openWindow();
      this.counts.microBatches++;
      if (!Number.isFinite(loss)) this.counts.windowSpoiled = 1;
      for (const [optimizer, count] of this.#pending) this.#pending.set(optimizer, count + 1);
      return result as BackwardResult<T>;
    } finally {
      this.#running = false;
    }
  }

  /** @throws TensorloomError `MISUSE`, `NON_FINITE` */
  async step(optimizer: Optimizer, options: StepOptions): Promise<StepResult> {
    if (!this.isAccumulating(optimizer)) {
      // A flush at the end of an epoch may find that the last micro-batch has closed its window already.
      if (options.flush === true) return (this.lastStep = { closed: false, stepped: false });
      throw new TensorloomError(
        'MISUSE',
        'fabric.step was called without a fabric.backward since the last step; there is no gradient to step by.',
      );
    }
    const ownSpoiled = this.counts.windowSpoiled === 1;
    const scaleBefore = this.#lossScaler.scale;
    const result = await this.#strategy.step(optimizer, ownSpoiled ? { ...options, discard: true } : options);
    // What follows must be the same on all ranks: the loss that was not finite may have been another rank's.
    const spoiled = result.discarded ?? ownSpoiled;
    this.lastStep = result;
    if (!result.closed) return result;
    this.#pending.set(optimizer, 0);
    this.counts.windowClosed = 1;
    if (result.stepped) {
      this.counts.steps++;
      this.counts.skippedInARow = 0;
      return result;
    }
    this.counts.skippedSteps++;
    // A dynamic loss scale that comes down to where gradients fit is at work as it should be: such skips are no alarm.
    if (this.#lossScaler.scale < scaleBefore) this.#scaleCameDown = true;
    const searching = !spoiled && this.#scaleCameDown && this.#lossScaler.scale >= 1;
    if (!searching) this.counts.skippedInARow++;
    if (this.counts.skippedInARow >= this.#maxSkippedSteps) throw this.#tooManySkips(spoiled);
    return result;
  }

  /** Undefined while the window stays open: there is nothing to clip yet. */
  async clipGradients(optimizer: Optimizer, options: ClipOptions): Promise<number | undefined> {
    if (!this.isAccumulating(optimizer))
      throw new TensorloomError(
        'MISUSE',
        'fabric.clipGradients was called without a fabric.backward since the last step; there is no gradient to clip.',
      );
    return this.#strategy.windowWillClose ? this.#strategy.clipGradients(optimizer, options) : undefined;
  }

  stateDict(): StateDict {
    const pending = [...this.#pending.values()];
    // Whether the window is spoiled is each rank's own.
    return { tensors: {}, values: { counts: { ...this.counts }, pending }, scope: 'rank' };
  }

  /** Pending micro-batches go to the optimizers in the order in which they were set up. */
  loadStateDict({ values, byRank }: StoredState): void {
    const { counts, pending } = values;
    if (counts === null || typeof counts !== 'object' || !Array.isArray(pending))
      throw new TensorloomError('BAD_CHECKPOINT', "The checkpoint's training progress is not readable.");
    for (const key of Object.keys(this.counts) as (keyof TrainingCounts)[]) {
      const count = (counts as Record<string, unknown>)[key];
      if (typeof count !== 'number')
        throw new TensorloomError('BAD_CHECKPOINT', `The checkpoint's training progress lacks '${key}'.`);
      this.counts[key] = count;
    }
    if (byRank?.some((state) => spoiledIn(state))) this.counts.windowSpoiled = 1;
    [...this.#pending.keys()].forEach((optimizer, index) => this.#pending.set(optimizer, Number(pending[index] ?? 0)));
  }

  /** With the first micro-batch after a step, what other optimizers have left of the old window is gone. */
  #openWindow(): void {
    if (this.counts.windowClosed === 0) return;
    this.counts.windowClosed = 0;
    this.counts.windowSpoiled = 0;
    this.#scaleCameDown = false;
    for (const optimizer of this.#pending.keys()) this.#pending.set(optimizer, 0);
  }

  #freeExtras(): void {
    for (const tensor of this.#extras) if (!tensor.isDisposed) tensor.dispose();
    this.#extras = [];
  }

  #tooManySkips(lossWasNotFinite: boolean): TensorloomError {
    const { skippedInARow, steps, microBatches } = this.counts;
    const what = lossWasNotFinite ? 'the loss was' : 'gradients were';
    return new TensorloomError(
      'NON_FINITE',
      `Stopped after ${skippedInARow} skipped steps in a row: ${what} NaN or infinite, last at micro-batch ${microBatches}, after ${steps} optimizer steps. ` +
        'Lower the learning rate, clip gradients by norm, warm up longer, or look for bad values in the data.',
    );
  }
}

function checked<T extends LossOutput>(output: T): T {
  const loss = lossOf(output);
  if (loss.rank !== 0)
    throw new TensorloomError(
      'MISUSE',
      `fabric.backward needs a scalar loss, but the closure's loss has shape [${loss.shape.join(', ')}]. Reduce it, for instance with .mean().`,
    );
  return output;
}

/** A window that one rank has spoiled is skipped by all of them. */
function spoiledIn({ values: { counts } }: StoredState): boolean {
  return (counts as { readonly windowSpoiled?: unknown } | null)?.windowSpoiled === 1;
}

function lossOf(output: unknown): Tensor {
  if (output instanceof Promise)
    throw new TensorloomError(
      'MISUSE',
      'The closure given to fabric.backward must be synchronous, but it returned a promise. Await data before the call.',
    );
  const loss: unknown = isTensor(output) ? output : (output as { readonly loss?: unknown } | null | undefined)?.loss;
  if (!isTensor(loss))
    throw new TensorloomError(
      'MISUSE',
      'The closure given to fabric.backward must return a scalar loss, or an object whose `loss` is one.',
    );
  return loss;
}

/** Tensors made from here on have higher ids. */
function nextTensorId(): number {
  return (tf.engine() as unknown as { nextTensorId(): number }).nextTensorId();
}
