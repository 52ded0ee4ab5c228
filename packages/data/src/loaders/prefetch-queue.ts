/** Batches that were started ahead of their consumer, in order. */
import type { StartedBatch } from './batches.ts';

export class PrefetchQueue<Batch> {
  readonly #source: AsyncGenerator<StartedBatch<Batch>>;
  readonly #ahead: StartedBatch<Batch>[] = [];
  #sourceEnded = false;

  /** @param source starts one batch each time it is asked */
  constructor(source: AsyncGenerator<StartedBatch<Batch>>) {
    this.#source = source;
  }

  /** Nothing is queued and nothing will come. Sure only after `fill` has asked for one more than there are. */
  get isExhausted(): boolean {
    return this.#sourceEnded && this.#ahead.length === 0;
  }

  /** Starts batches until `count` are on their way or there are no more. */
  async fill(count: number): Promise<void> {
    while (!this.#sourceEnded && this.#ahead.length < count) {
      const next = await this.#source.next();
      if (next.done === true) this.#sourceEnded = true;
      else this.#ahead.push(next.value);
    }
  }

  /** Takes the first batch out, without waiting for it; undefined where none is queued. */
  take(): StartedBatch<Batch> | undefined {
    return this.#ahead.shift();
  }

  async close(): Promise<void> {
    await this.#source.return(undefined);
  }
}
