/** A random order in which neighbours are of similar length, so that little of a batch is padding. */
import { TensorloomError, type JsonObject } from '@tensorloom/core';
import { range, seededGenerator, shuffle } from '../random/seeded.ts';
import type { Sampler } from './sampler.ts';

/** Options of `LengthBucketedSampler`. */
export interface LengthBucketedOptions {
  /** Items per batch. */
  readonly batchSize: number;
  readonly seed?: number;
  /** Batches per window that is sorted by length (default 50): larger pads less, smaller is more random. */
  readonly windowBatches?: number;
  /**
   * Batches of one optimizer step over all ranks (default 1). They are put in order of length, the longest first: ranks take neighbouring
   * batches, so that none waits long for another. What a step sums up is the same.
   */
  readonly batchesPerStep?: number;
}

/**
 * Shuffle all; cut into windows of `windowBatches` batches; sort each by length; cut into batches; shuffle the batches; sort those of each step. What does not fill a
 * batch stays last and unsorted, so that consecutive runs of `batchSize` indices are the batches, and dropping the last is unbiased. Each
 * item occurs once per epoch.
 */
export class LengthBucketedSampler implements Sampler {
  readonly length: number;
  readonly #lengths: ArrayLike<number>;
  readonly #batchSize: number;
  #windowBatches: number;
  #batchesPerStep: number;
  #seed: number;

  /**
   * @param lengths the length of each item, e.g. in tokens
   * @throws TensorloomError `BAD_OPTION` unless `batchSize`, `windowBatches` and `batchesPerStep` are whole numbers of at least 1
   */
  constructor(lengths: ArrayLike<number>, options: LengthBucketedOptions) {
    this.length = lengths.length;
    this.#lengths = lengths;
    this.#batchSize = options.batchSize;
    this.#windowBatches = options.windowBatches ?? 50;
    this.#batchesPerStep = options.batchesPerStep ?? 1;
    this.#seed = options.seed ?? 0;
    for (const [name, value] of [
      ['batchSize', this.#batchSize],
      ['windowBatches', this.#windowBatches],
      ['batchesPerStep', this.#batchesPerStep],
    ] as const)
      if (!Number.isInteger(value) || value < 1)
        throw new TensorloomError(
          'BAD_OPTION',
          `LengthBucketedSampler: ${name} ${value}; expected a whole number of at least 1.`,
        );
  }

  get seed(): number {
    return this.#seed;
  }

  indices(epoch: number): Int32Array {
    const generator = seededGenerator(this.#seed, epoch);
    const order = shuffle(range(this.length), generator);
    const lengthOf = (index: number): number => this.#lengths[index] as number;
    const fullBatches = Math.floor(order.length / this.#batchSize);
    const full = order.subarray(0, fullBatches * this.#batchSize);
    const windowSize = this.#batchSize * this.#windowBatches;
    // The sort of typed arrays is stable, so equal lengths keep their random order.
    for (let start = 0; start < full.length; start += windowSize)
      full.subarray(start, start + windowSize).sort((a, b) => lengthOf(a) - lengthOf(b));
    const batchOrder = shuffle(range(fullBatches), generator);
    const longest = (batch: number): number => lengthOf(full[(batch + 1) * this.#batchSize - 1] as number);
    for (let start = 0; start < fullBatches; start += this.#batchesPerStep)
      batchOrder.subarray(start, start + this.#batchesPerStep).sort((a, b) => longest(b) - longest(a));
    const bucketed = order.slice();
    for (let i = 0; i < fullBatches; i++) {
      const start = (batchOrder[i] as number) * this.#batchSize;
      bucketed.set(full.subarray(start, start + this.#batchSize), i * this.#batchSize);
    }
    return bucketed;
  }

  stateDict(): JsonObject {
    return { seed: this.#seed, windowBatches: this.#windowBatches, batchesPerStep: this.#batchesPerStep };
  }

  loadStateDict(state: JsonObject): void {
    if (typeof state.seed === 'number') this.#seed = state.seed;
    if (typeof state.windowBatches === 'number') this.#windowBatches = state.windowBatches;
    if (typeof state.batchesPerStep === 'number') this.#batchesPerStep = state.batchesPerStep;
  }
}
