/** Batches that were started ahead of their consumer, in order. */

export class PrefetchQueue<Batch> {
  readonly #source: AsyncGenerator<{ readonly batch: Promise<Batch> }>;
  readonly #ahead: Promise<Batch>[] = [];
  #sourceEnded = false;

  /** @param source starts one batch each time it is asked */
  constructor(source: AsyncGenerator<{ readonly batch: Promise<Batch> }>) {
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
      else this.#ahead.push(next.value.batch);
    }
  }

  /** Takes the first batch out, without waiting for it; undefined where none is queued. */
  take(): { readonly batch: Promise<Batch> } | undefined {
    const batch = this.#ahead.shift();
    return batch && { batch };
  }

  async close(): Promise<void> {
    await this.#source.return(undefined);
  }
}
