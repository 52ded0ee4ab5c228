/** Where a run is and what all its ranks have seen: plain numbers that go into each checkpoint. */
import type { Fabric, JsonObject } from '@tensorloom/core';

/** An evaluation of the validation part after `step` optimizer steps. */
export interface Validation {
  readonly step: number;
  readonly correct: number;
  readonly total: number;
  /** 0..1 */
  readonly accuracy: number;
}

/** Sums over what was counted. */
interface Counted {
  lossSum: number;
  items: number;
  tokens: number;
  correct: number;
  seconds: number;
}

/**
 * Each rank counts its own micro-batches; `gather` makes the counts of all ranks common. Everything public is that of all ranks, as of the
 * last `gather`; with one rank, always.
 */
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
  readonly #ranks: number;
  /** This rank's, since the last `gather`. */
  #own = nothing();

  /** @param ranks how many count */
  constructor(ranks = 1) {
    this.#ranks = ranks;
  }

  /**
   * Counts one micro-batch of this rank.
   * @param batch.loss its mean over `items`
   * @param batch.microBatches done by all ranks in all epochs, with this one
   */
  count(batch: {
    readonly loss: number;
    readonly items: number;
    readonly tokens: number;
    readonly correct: number;
    readonly seconds: number;
    readonly microBatches: number;
  }): void {
    this.microBatches = batch.microBatches;
    const own = this.#own;
    // Multiples of 2^-24 add up exactly, in whatever order and parts: a run on any ranks, resumed anywhere, shows the same.
    own.lossSum += Math.round(batch.loss * batch.items * 2 ** 24) / 2 ** 24;
    own.items += batch.items;
    own.tokens += batch.tokens;
    own.correct += batch.correct;
    own.seconds += batch.seconds;
    if (this.#ranks === 1) this.#add(own);
  }

  /** Adds up what all ranks have counted since the last time. All ranks call it. Seconds are rank zero's. */
  async gather(fabric: Pick<Fabric, 'allReduce'>): Promise<void> {
    if (this.#ranks === 1) return;
    const { seconds, ...sums } = this.#own;
    this.#add({ ...(await fabric.allReduce(sums, 'sum')), seconds });
  }

  #add(counted: Counted): void {
    this.items += counted.items;
    this.tokens += counted.tokens;
    this.lossSum += counted.lossSum;
    this.lossItems += counted.items;
    this.correct += counted.correct;
    this.seen += counted.items;
    if (this.seen > 0) this.trainAccuracy = this.correct / this.seen;
    this.trainingSeconds += counted.seconds;
    this.#own = nothing();
  }

  /** Mean loss since the last log line, of what was gathered and of this rank's own since. */
  get meanLoss(): number {
    return (this.lossSum + this.#own.lossSum) / Math.max(1, this.lossItems + this.#own.items);
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

  /** Of this rank's training up to now. */
  get elapsedTrainingSeconds(): number {
    return this.trainingSeconds + this.#own.seconds;
  }

  /** Of all ranks up to now: between gatherings the others are taken to be as fast as this one. */
  get tokensPerSecond(): number {
    const seconds = this.elapsedTrainingSeconds;
    return seconds === 0 ? 0 : (this.tokens + this.#own.tokens * this.#ranks) / seconds;
  }

  toJson(): JsonObject {
    return JSON.parse(JSON.stringify(this)) as JsonObject;
  }

  /** The state that `toJson` gave. */
  static fromJson(json: JsonObject, ranks = 1): TrainingState {
    return Object.assign(new TrainingState(ranks), json);
  }
}

function nothing(): Counted {
  return { lossSum: 0, items: 0, tokens: 0, correct: 0, seconds: 0 };
}
