/** A Throughput that counts for the loop and logs through Fabric. */
import type { Fabric } from '../fabric/fabric.ts';
import { Throughput, type ThroughputOptions, type ThroughputRates } from './throughput.ts';

/** Options of `ThroughputMonitor`. */
export interface ThroughputMonitorOptions extends Omit<ThroughputOptions, 'worldSize'> {
  /** Rates are logged each so many batches (default 1; 0 never). */
  readonly logEveryBatches?: number;
  /** Seconds, for tests. */
  readonly clock?: () => number;
}

/** What one batch adds. */
export interface BatchWork {
  readonly samples: number;
  readonly items?: number;
  readonly flops?: number;
}

/** Call `batchDone` after each batch; rates go to the loggers as `throughput/…`. */
export class ThroughputMonitor {
  readonly #fabric: Pick<Fabric, 'logDict' | 'worldSize'>;
  readonly #throughput: Throughput;
  readonly #logEveryBatches: number;
  readonly #clock: () => number;
  #start: number;
  #batches = 0;
  #samples = 0;
  #items: number | undefined;
  #flops: number | undefined;

  constructor(fabric: Pick<Fabric, 'logDict' | 'worldSize'>, options: ThroughputMonitorOptions = {}) {
    const { logEveryBatches = 1, clock = () => performance.now() / 1000, ...rest } = options;
    this.#fabric = fabric;
    this.#throughput = new Throughput({ ...rest, worldSize: fabric.worldSize });
    this.#logEveryBatches = logEveryBatches;
    this.#clock = clock;
    this.#start = clock();
  }

  /** Call after each batch. Returns the rates. @param step for the loggers; default Fabric's */
  batchDone(work: BatchWork, step?: number): ThroughputRates {
    this.#batches++;
    this.#samples += work.samples;
    if (work.items !== undefined) this.#items = (this.#items ?? 0) + work.items;
    if (work.flops !== undefined) this.#flops = (this.#flops ?? 0) + work.flops;
    this.#throughput.update({
      seconds: this.#clock() - this.#start,
      batches: this.#batches,
      samples: this.#samples,
      ...(this.#items === undefined ? {} : { items: this.#items }),
      ...(this.#flops === undefined ? {} : { flops: this.#flops }),
    });
    const rates = this.#throughput.compute();
    if (this.#logEveryBatches > 0 && this.#batches % this.#logEveryBatches === 0) {
      const named = Object.entries(rates).map(([name, value]) => [`throughput/${name}`, value as number] as const);
      this.#fabric.logDict(Object.fromEntries(named), step);
    }
    return rates;
  }

  /** Leaves time that was no training (an evaluation, a save) out of the rates. */
  async pause<T>(fn: () => Promise<T> | T): Promise<T> {
    const before = this.#clock();
    try {
      return await fn();
    } finally {
      this.#start += this.#clock() - before;
    }
  }
}
