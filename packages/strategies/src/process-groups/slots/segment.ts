/** The ranks of one group around one piece of shared memory: meeting, waiting, aborting. */
import { TensorloomError, type ErrorCode } from '@tensorloom/core/distributed';
import { SegmentLayout, type SegmentSizes } from './layout.ts';

/** Memory that several ranks see, and how to sleep until a word of it changes. */
export interface SharedWords {
  readonly buffer: ArrayBufferLike;
  /** Sleeps while the int32 at `index` is `value`, at most `timeoutMs`; may wake early. */
  wait(index: number, value: number, timeoutMs: number): void;
  /** Wakes all who sleep on the int32 at `index`. */
  wake(index: number): void;
}

export interface SegmentOptions {
  readonly rank: number;
  /** What to call the ranks in messages: their ranks in the world. */
  readonly names: readonly number[];
  readonly sizes: SegmentSizes;
  readonly collectiveTimeoutMs: number;
  /** Asked now and then while waiting for `rank`: what is wrong with it, or null. */
  readonly checkAlive?: (rank: number) => string | null;
  /** Called about every 50 ms while waiting. */
  readonly whileWaiting?: () => void;
}

// Waiters look around this often, in case a wake-up was missed, the group was aborted or a rank died.
const SLICE_MS = 50;
// Two ranks on two cores answer within microseconds; with more ranks than cores, spinning only takes time from the others.
const SPINS = 200;
const CODES: readonly ErrorCode[] = ['ABORTED', 'COLLECTIVE_MISMATCH', 'RANK_LOST', 'TIMEOUT'];

export class Segment {
  readonly rank: number;
  readonly layout: SegmentLayout;
  readonly memory: SharedWords;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** Called while waiting for a meeting, so that letters that others are waiting to write get room. */
  onIdle: () => void = () => {};
  readonly #options: SegmentOptions;
  #meetings = 0;
  #announced = 0;
  #failure: Error | undefined;

  constructor(memory: SharedWords, options: SegmentOptions) {
    this.memory = memory;
    this.rank = options.rank;
    this.layout = new SegmentLayout(options.sizes);
    this.words = new Int32Array(memory.buffer, 0, this.layout.totalBytes >> 2);
    this.bytes = new Uint8Array(memory.buffer, 0, this.layout.totalBytes);
    this.#options = options;
    Atomics.store(this.words, this.layout.presence(this.rank) >> 2, 1);
  }

  get worldSize(): number {
    return this.layout.worldSize;
  }

  /** Returns when all ranks have come as often as this one. What they wrote before is visible after. */
  meet(what: string): void {
    this.#meetings = (this.#meetings + 1) | 0;
    const own = this.layout.arrivals(this.rank) >> 2;
    Atomics.store(this.words, own, this.#meetings);
    this.memory.wake(own);
    for (let step = 1; step < this.worldSize; step++) {
      const rank = (this.rank + step) % this.worldSize;
      const index = this.layout.arrivals(rank) >> 2;
      this.waitFor(
        index,
        (value) => ((value - this.#meetings) | 0) >= 0,
        what,
        () => this.#missing(),
      );
    }
  }

  /**
   * As `meet`, but leaves the thread to others while waiting. It counts for itself: all ranks call it equally often.
   * @param late asked when the time is over, where those who are missing here may wait for others elsewhere: what to fail with,
   * or null to wait as long again. Default: the ranks that are missing are named.
   */
  async comeTogether(what: string, late?: () => Promise<Error | null>): Promise<void> {
    this.#announced = (this.#announced + 1) | 0;
    Atomics.store(this.words, this.layout.announced(this.rank) >> 2, this.#announced);
    const missing = (): number[] => this.#behind((rank) => this.layout.announced(rank), this.#announced);
    let started = performance.now();
    for (let look = 0; ; look++) {
      const absent = missing();
      if (absent.length === 0) return;
      this.check();
      const waitedMs = performance.now() - started;
      this.#checkRanks(absent, what, late === undefined ? waitedMs : 0);
      if (late !== undefined && waitedMs > this.#options.collectiveTimeoutMs) {
        const error = await late();
        this.check();
        if (error !== null && missing().length > 0) throw this.fail(error);
        started = performance.now();
      }
      this.onIdle();
      await (look < 20
        ? new Promise((resolve) => setImmediate(resolve))
        : new Promise((resolve) => setTimeout(resolve, 1)));
    }
  }

  /** Sleeps until `ready` holds of the word at `index`. @param missing the ranks that are waited for */
  waitFor(index: number, ready: (value: number) => boolean, what: string, missing: () => readonly number[]): void {
    for (let spin = 0; spin < SPINS; spin++) if (ready(Atomics.load(this.words, index))) return;
    const started = performance.now();
    for (;;) {
      const value = Atomics.load(this.words, index);
      if (ready(value)) return;
      this.#options.whileWaiting?.();
      this.check();
      this.#checkRanks(missing(), what, performance.now() - started);
      this.onIdle();
      this.memory.wait(index, value, SLICE_MS);
    }
  }

  /** @throws what made the group unusable, if anything did */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (Atomics.load(this.words, this.layout.abort >> 2) === 2) throw this.fail(this.#aborted());
  }

  /** Remembers why the group is unusable, for every later call. */
  fail(error: Error): Error {
    if (this.#failure !== undefined) return this.#failure;
    // The others would otherwise wait for this rank, and blame it.
    if (error instanceof TensorloomError && CODES.includes(error.code)) this.abort(error.message, error.code);
    return (this.#failure = error);
  }

  /** Makes all ranks fail: those that wait now, and every later call. */
  abort(reason: string, code: ErrorCode = 'ABORTED'): void {
    const { abort, abortText, abortTextBytes } = this.layout;
    const state = abort >> 2;
    if (Atomics.compareExchange(this.words, state, 0, 1) === 0) {
      const text = new TextEncoder().encode(reason).subarray(0, abortTextBytes);
      this.bytes.set(text, abortText);
      this.words[state + 1] = this.rank;
      this.words[state + 2] = Math.max(0, CODES.indexOf(code));
      this.words[state + 3] = text.length;
      Atomics.store(this.words, state, 2);
    }
    for (let rank = 0; rank < this.worldSize; rank++) {
      this.memory.wake(this.layout.arrivals(rank) >> 2);
      this.memory.wake(this.layout.bell(rank) >> 2);
    }
  }

  leave(): void {
    Atomics.store(this.words, this.layout.presence(this.rank) >> 2, 2);
    this.memory.wake(this.layout.arrivals(this.rank) >> 2);
    this.fail(new TensorloomError('MISUSE', 'The process group is closed.'));
  }

  #missing(): number[] {
    return this.#behind((rank) => this.layout.arrivals(rank), this.#meetings);
  }

  /** The ranks whose counter has not come to `count`. */
  #behind(counterOf: (rank: number) => number, count: number): number[] {
    return range(this.worldSize).filter((rank) => ((Atomics.load(this.words, counterOf(rank) >> 2) - count) | 0) < 0);
  }

  nameOf(rank: number): number {
    return this.#options.names[rank] as number;
  }

  #checkRanks(missing: readonly number[], what: string, waitedMs: number): void {
    const { collectiveTimeoutMs, checkAlive } = this.#options;
    for (const rank of missing) {
      // Someone who left after doing his part may still be read from: only those who are missing count.
      if (Atomics.load(this.words, this.layout.presence(rank) >> 2) === 2)
        throw this.fail(
          new TensorloomError(
            'RANK_LOST',
            `Rank ${this.nameOf(rank)} has left the process group; rank ${this.nameOf(this.rank)} waits for it in ${what}.`,
          ),
        );
      const trouble = checkAlive?.(rank) ?? null;
      if (trouble !== null)
        throw this.fail(
          new TensorloomError(
            'RANK_LOST',
            `Rank ${this.nameOf(rank)} is lost: ${trouble}. Rank ${this.nameOf(this.rank)} waited for it in ${what}.`,
          ),
        );
    }
    if (missing.length > 0 && waitedMs > collectiveTimeoutMs)
      throw this.fail(
        new TensorloomError(
          'TIMEOUT',
          `${what}: rank${missing.length > 1 ? 's' : ''} ${missing.map((rank) => this.nameOf(rank)).join(', ')} did not come within ${collectiveTimeoutMs / 1000} s (rank ${this.nameOf(this.rank)} waited).`,
        ),
      );
  }

  #aborted(): Error {
    const { abort, abortText } = this.layout;
    const state = abort >> 2;
    const rank = this.words[state + 1] as number;
    const code = CODES[this.words[state + 2] as number] ?? 'ABORTED';
    // A copy: the decoder takes no shared memory.
    const text = new TextDecoder().decode(this.bytes.slice(abortText, abortText + (this.words[state + 3] as number)));
    return new TensorloomError(
      code,
      code === 'ABORTED' ? `Rank ${this.nameOf(rank)} aborted the process group: ${text}` : text,
    );
  }
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
