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
  readonly fabric: Pick<Fabric, 'logDict'>;
  readonly saveCheckpoint: () => Promise<unknown>;
}

export class RunObserver {
  readonly #options: ObserverOptions;
  #lr = 0;

  constructor(options: ObserverOptions) {
    this.#options = options;
  }

  /**
   * Call after each micro-batch.
   * @param lr the learning rate of its step
   * @param last whether the run ends with it: the log window ends too, however few it holds
   */
  microBatchDone(lr: number, last: boolean): void {
    this.#lr = lr;
    const { state, progress, config } = this.#options;
    state.peakMemoryBytes = Math.max(state.peakMemoryBytes, peakMemoryBytes());
    progress.training(this.#figures());
    if (last || state.microBatches % config.logEvery === 0) this.#closeLogWindow();
  }

  /** Saves a checkpoint where one is due. @param stepped whether the last micro-batch completed an optimizer step */
  async saveIfDue(stepped: boolean): Promise<void> {
    const { state, config } = this.#options;
    const everyMicroBatches = config.checkpointEveryMicroBatches;
    const due =
      (stepped && state.step % config.checkpointEvery === 0) ||
      (everyMicroBatches !== undefined && state.microBatches % everyMicroBatches === 0);
    if (due) await this.#options.saveCheckpoint();
  }

  /** Returns a callback for the texts done. */
  evaluating(part: 'validation' | 'test'): (done: number) => void {
    const { progress, parts } = this.#options;
    return (done) => progress.counting(`evaluating ${part}`, done, parts[part]);
  }

  validated(accuracy: number): void {
    const { state, fabric } = this.#options;
    fabric.logDict({ step: state.step, epoch: state.epoch, validation_accuracy: accuracy }, state.microBatches);
  }

  epochDone(): void {
    const { state, progress, config } = this.#options;
    this.#closeLogWindow();
    const validation = state.validations.at(-1)?.accuracy ?? Number.NaN;
    progress.line(
      `Epoch: ${state.epoch + 1}/${config.epochs} | Train acc.: ${formatAccuracy(state.trainAccuracy ?? Number.NaN)} | Val acc.: ${formatAccuracy(validation)}`,
    );
  }

  #closeLogWindow(): void {
    const { state, progress, fabric } = this.#options;
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
    const secondsPerMicroBatch = state.trainingSeconds / Math.max(1, state.microBatches);
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
