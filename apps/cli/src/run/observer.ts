/** What happens around the training loop: progress, metrics for the loggers, checkpoints when they are due. */
import type { Fabric } from '@tensorloom/core';
import type { RunConfig } from '../config/schema.ts';
import { formatAccuracy } from './format.ts';
import type { Progress, TrainingFigures } from './progress.ts';
import type { TrainingState } from './training-state.ts';

export interface ObserverOptions {
  readonly config: Pick<RunConfig, 'epochs' | 'logEvery' | 'checkpointEvery' | 'checkpointEveryMicroBatches'>;
  readonly state: TrainingState;
  readonly progress: Progress;
  /** Micro-batches of the whole run. */
  readonly totalMicroBatches: number;
  /** Texts of the parts that are evaluated. */
  readonly parts: { readonly validation: number; readonly test: number };
  /** Metrics go to its loggers, by the number of micro-batches done. */
  readonly fabric: Pick<Fabric, 'logDict' | 'allReduce' | 'worldSize'>;
  readonly saveCheckpoint: () => Promise<unknown>;
}

export class RunObserver {
  readonly #options: ObserverOptions;
  #lr = 0;
  /** Micro-batches at the last call of `microBatchDone`, and before it. */
  #now: number;
  #before: number;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#now = this.#before = options.state.microBatches;
  }

  /**
   * Call after each micro-batch. Ranks that log together do so by the micro-batches of all of them.
   * @param lr the learning rate of its step
   * @param last whether the run ends with it: the log window ends too, however few it holds
   */
  async microBatchDone(lr: number, last: boolean): Promise<void> {
    this.#lr = lr;
    const { state, progress, config } = this.#options;
    [this.#before, this.#now] = [this.#now, state.microBatches];
    state.peakMemoryBytes = Math.max(state.peakMemoryBytes, peakMemoryBytes());
    progress.training(this.#figures());
    if (last || this.#hasPassed(config.logEvery)) await this.#closeLogWindow();
  }

  /** Saves a checkpoint where one is due. @param stepped whether the last micro-batch completed an optimizer step */
  async saveIfDue(stepped: boolean): Promise<void> {
    const { state, config } = this.#options;
    const everyMicroBatches = config.checkpointEveryMicroBatches;
    const due =
      (stepped && state.step % config.checkpointEvery === 0) ||
      (everyMicroBatches !== undefined && this.#hasPassed(everyMicroBatches));
    if (due) await this.#options.saveCheckpoint();
  }

  /** Returns a callback for the texts that this rank has done: the others are as far. */
  evaluating(part: 'validation' | 'test'): (done: number) => void {
    const { progress, parts, fabric } = this.#options;
    const total = parts[part];
    return (done) => progress.counting(`evaluating ${part}`, Math.min(total, done * fabric.worldSize), total);
  }

  validated(accuracy: number): void {
    const { state, fabric } = this.#options;
    fabric.logDict({ step: state.step, epoch: state.epoch, validation_accuracy: accuracy }, state.microBatches);
  }

  async epochDone(): Promise<void> {
    const { state, progress, config } = this.#options;
    await this.#closeLogWindow();
    const validation = state.validations.at(-1)?.accuracy ?? Number.NaN;
    progress.line(
      `Epoch: ${state.epoch + 1}/${config.epochs} | Train acc.: ${formatAccuracy(state.trainAccuracy ?? Number.NaN)} | Val acc.: ${formatAccuracy(validation)}`,
    );
  }

  /** Whether the latest micro-batches of the ranks completed another `every`. */
  #hasPassed(every: number): boolean {
    return Math.floor(this.#before / every) < Math.floor(this.#now / every);
  }

  async #closeLogWindow(): Promise<void> {
    const { state, progress, fabric } = this.#options;
    await state.gather(fabric);
    if (state.lossItems === 0) return;
    const figures = this.#figures();
    progress.log(figures);
    // Losses are means over the texts since the row before; accuracies are 0..1.
    fabric.logDict(
      {
        step: state.step,
        epoch: state.epoch,
        loss: figures.loss,
        lr: figures.lr,
        train_accuracy: state.trainAccuracy ?? Number.NaN,
        tokens: state.tokens,
        tokens_per_second: Math.round(figures.tokensPerSecond),
        memory_bytes: figures.memoryBytes,
      },
      state.microBatches,
    );
    state.closeLogWindow();
  }

  #figures(): TrainingFigures {
    const { state, config, totalMicroBatches } = this.#options;
    const secondsPerMicroBatch = state.elapsedTrainingSeconds / Math.max(1, state.microBatches);
    return {
      epoch: state.epoch,
      epochs: config.epochs,
      microBatches: state.microBatches,
      totalMicroBatches,
      step: state.step,
      loss: state.meanLoss,
      lr: this.#lr,
      tokensPerSecond: state.tokensPerSecond,
      memoryBytes: process.memoryUsage.rss(),
      secondsLeft: secondsPerMicroBatch * (totalMicroBatches - state.microBatches),
    };
  }
}

/** Largest resident memory of this process so far. */
export function peakMemoryBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}
