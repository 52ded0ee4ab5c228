/** How fast training goes, over a sliding window: batches, samples, items (tokens) and FLOPs per second. */
import { TensorloomError } from '../errors.ts';

/** Totals since the start, at one moment. */
export interface ThroughputSample {
  /** Seconds since the start; must not go back. */
  readonly seconds: number;
  readonly batches: number;
  readonly samples: number;
  /** Tokens, or whatever a sample consists of. */
  readonly items?: number;
  /** Floating-point operations of this device. */
  readonly flops?: number;
}

/** Options of `Throughput`. */
export interface ThroughputOptions {
  /** Updates that the rates look back over (default 100). */
  readonly windowSize?: number;
  /** Ranks; global rates are those of this device times it (default 1). */
  readonly worldSize?: number;
  /** FLOPs per second that one device can do at best; gives the model FLOPs utilization. */
  readonly peakFlopsPerSecond?: number;
}

/** Rates of this device; `total…` are those of all ranks, present where there are several. */
export interface ThroughputRates {
  readonly seconds: number;
  readonly batches: number;
  readonly samples: number;
  readonly batchesPerSecond?: number;
  readonly samplesPerSecond?: number;
  readonly itemsPerSecond?: number;
  readonly flopsPerSecond?: number;
  /** Share of the peak that the model's arithmetic reaches, 0..1 (Chowdhery et al., 2022, appendix B). */
  readonly modelFlopsUtilization?: number;
  readonly totalBatchesPerSecond?: number;
  readonly totalSamplesPerSecond?: number;
  readonly totalItemsPerSecond?: number;
  readonly totalFlopsPerSecond?: number;
}

/** Rates between the oldest and the newest of the last updates. */
export class Throughput {
  readonly #windowSize: number;
  readonly #worldSize: number;
  readonly #peak: number | undefined;
  #window: ThroughputSample[] = [];

  /** @throws TensorloomError `BAD_OPTION` */
  constructor({ windowSize = 100, worldSize = 1, peakFlopsPerSecond }: ThroughputOptions = {}) {
    if (!Number.isInteger(windowSize) || windowSize < 1)
      throw new TensorloomError(
        'BAD_OPTION',
        `Throughput: windowSize is ${windowSize}; expected a whole number of at least 1.`,
      );
    if (!Number.isInteger(worldSize) || worldSize < 1)
      throw new TensorloomError(
        'BAD_OPTION',
        `Throughput: worldSize is ${worldSize}; expected a whole number of at least 1.`,
      );
    if (peakFlopsPerSecond !== undefined && !(peakFlopsPerSecond > 0))
      throw new TensorloomError(
        'BAD_OPTION',
        `Throughput: peakFlopsPerSecond is ${peakFlopsPerSecond}; expected a number above 0.`,
      );
    this.#windowSize = windowSize;
    this.#worldSize = worldSize;
    this.#peak = peakFlopsPerSecond;
  }

  /** @throws TensorloomError `MISUSE` if a total is below the last one */
  update(sample: ThroughputSample): void {
    const last = this.#window.at(-1);
    if (last !== undefined)
      for (const key of ['seconds', 'batches', 'samples', 'items', 'flops'] as const) {
        const [before, now] = [last[key], sample[key]];
        if ((before === undefined) !== (now === undefined))
          throw new TensorloomError(
            'MISUSE',
            `Throughput.update: '${key}' is given in some updates only; give it in all or none.`,
          );
        if (before !== undefined && now !== undefined && now < before)
          throw new TensorloomError(
            'MISUSE',
            `Throughput.update takes totals since the start: '${key}' went from ${before} back to ${now}.`,
          );
      }
    this.#window.push(sample);
    // Rates need one more moment than steps between them.
    if (this.#window.length > this.#windowSize + 1) this.#window.shift();
  }

  /** Totals and rates over the window; rates are absent until two updates lie apart in time. */
  compute(): ThroughputRates {
    const newest = this.#window.at(-1) ?? { seconds: 0, batches: 0, samples: 0 };
    const oldest = this.#window[0] ?? newest;
    const { seconds, batches, samples } = newest;
    const elapsed = seconds - oldest.seconds;
    const rates: Record<string, number> = { seconds, batches, samples };
    if (elapsed <= 0) return rates as unknown as ThroughputRates;
    for (const key of ['batches', 'samples', 'items', 'flops'] as const) {
      const [from, to] = [oldest[key], newest[key]];
      if (from === undefined || to === undefined) continue;
      const rate = (to - from) / elapsed;
      rates[`${key}PerSecond`] = rate;
      if (this.#worldSize > 1)
        rates[`total${key.charAt(0).toUpperCase()}${key.slice(1)}PerSecond`] = rate * this.#worldSize;
      if (key === 'flops' && this.#peak !== undefined) rates['modelFlopsUtilization'] = rate / this.#peak;
    }
    return rates as unknown as ThroughputRates;
  }

  /** Forgets the window: after an evaluation or a save, whose time is no training. */
  reset(): void {
    this.#window = [];
  }
}
