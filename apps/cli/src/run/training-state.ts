/** Where a run is and what it has seen: plain numbers that go into each checkpoint. */
import type { JsonObject } from '@tensorloom/core';

/** An evaluation of the validation part after `step` optimizer steps. */
export interface Validation {
  readonly step: number;
  readonly correct: number;
  readonly total: number;
  /** 0..1 */
  readonly accuracy: number;
}

export class TrainingState {
  /** Finished passes. */
  epoch = 0;
  /** Micro-batches of all epochs. */
  microBatches = 0;
  /** Optimizer steps. */
  step = 0;
  /** Texts and tokens (padding not counted) that were trained on. */
  items = 0;
  tokens = 0;
  /** Sums over the texts since the last log line. */
  lossSum = 0;
  lossItems = 0;
  /** Predictions made while training in the current epoch, as the blog counts its training accuracy. */
  correct = 0;
  seen = 0;
  /** Mean losses of the first and the latest log window. */
  firstLoss: number | null = null;
  lastLoss: number | null = null;
  /** Training accuracy of the latest epoch, whole or not. */
  trainAccuracy: number | null = null;
  validations: Validation[] = [];
  /** Seconds of the parts of the run before it was resumed. */
  secondsBefore = 0;
  /** Seconds of training alone, without evaluation and checkpoints. */
  trainingSeconds = 0;
  peakMemoryBytes = 0;

  /** Counts one micro-batch. `loss` is its mean over `items`. */
  count(batch: {
    readonly loss: number;
    readonly items: number;
    readonly tokens: number;
    readonly correct: number;
    readonly seconds: number;
  }): void {
    this.microBatches++;
    this.items += batch.items;
    this.tokens += batch.tokens;
    this.lossSum += batch.loss * batch.items;
    this.lossItems += batch.items;
    this.correct += batch.correct;
    this.seen += batch.items;
    this.trainAccuracy = this.correct / this.seen;
    this.trainingSeconds += batch.seconds;
  }

  /** Mean loss since the last log line. */
  get meanLoss(): number {
    return this.lossSum / Math.max(1, this.lossItems);
  }

  /** Ends a log window. */
  closeLogWindow(): void {
    if (this.lossItems === 0) return;
    this.lastLoss = this.meanLoss;
    this.firstLoss ??= this.lastLoss;
    this.lossSum = 0;
    this.lossItems = 0;
  }

  closeEpoch(): void {
    this.epoch++;
    this.correct = 0;
    this.seen = 0;
  }

  get tokensPerSecond(): number {
    return this.trainingSeconds === 0 ? 0 : this.tokens / this.trainingSeconds;
  }

  toJson(): JsonObject {
    return JSON.parse(JSON.stringify(this)) as JsonObject;
  }

  /** The state that `toJson` gave. */
  static fromJson(json: JsonObject): TrainingState {
    return Object.assign(new TrainingState(), json);
  }
}
