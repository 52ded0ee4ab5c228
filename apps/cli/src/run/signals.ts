/**
 * Ctrl-C and SIGTERM. While there is something to save, the first signal only asks the loop to stop, after its micro-batch, or, where
 * there are several ranks, all of them after the same step; at all other times, and at the second signal, the process exits at once. Exit codes 130 and 143.
 */
import type { Fabric } from '@tensorloom/core';
import { exitCodes } from '../exit-codes.ts';

export type StopSignal = 'SIGINT' | 'SIGTERM';

export function exitCodeOf(signal: StopSignal): number {
  return signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated;
}

export class Signals {
  #requested: StopSignal | undefined;
  #saving = false;
  #others: Pick<Fabric, 'worldSize' | 'isGlobalZero' | 'allReduce'> | undefined;
  readonly #listeners = new Map<StopSignal, () => void>();
  readonly #beforeMessage: () => void;

  /** @param beforeMessage called before a line is printed: takes a progress bar off the screen */
  constructor(beforeMessage: () => void = () => {}) {
    this.#beforeMessage = beforeMessage;
  }

  /** Starts listening. From here on a signal ends the process at once unless `whileSaving` is active. */
  listen(): this {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const listener = (): void => this.#receive(signal);
      this.#listeners.set(signal, listener);
      process.on(signal, listener);
    }
    return this;
  }

  /** The signal that asked the loop to stop, if one did. Signals arrive only where the loop lets the event loop turn. */
  get requested(): StopSignal | undefined {
    return this.#requested;
  }

  /** From here on there may be other ranks: they all stop when one of them is asked to. */
  joinedBy(fabric: Pick<Fabric, 'worldSize' | 'isGlobalZero' | 'allReduce'>): void {
    if (fabric.worldSize > 1) this.#others = fabric;
  }

  /**
   * The signal that asked this rank or another to stop: the same answer on all ranks, at `isBoundary`, which they all reach. In between,
   * ranks go on; one rank alone need not.
   */
  async requestedOfAny(isBoundary: boolean): Promise<StopSignal | undefined> {
    if (this.#others === undefined) return this.#requested;
    if (!isBoundary) return undefined;
    const order = [undefined, 'SIGINT', 'SIGTERM'] as const;
    return order[await this.#others.allReduce(order.indexOf(this.#requested), 'max')];
  }

  /** Runs `work`, which looks at `requested` and saves; the first signal does not end the process during it. */
  async whileSaving<T>(work: () => Promise<T>): Promise<T> {
    this.#saving = true;
    try {
      return await work();
    } finally {
      this.#saving = false;
    }
  }

  close(): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener);
    this.#listeners.clear();
  }

  #receive(signal: StopSignal): void {
    if (!this.#saving || this.#requested !== undefined) process.exit(exitCodeOf(signal));
    this.#requested = signal;
    this.#beforeMessage();
    // A launcher passes its signal on to all ranks: one says what follows.
    if (this.#others?.isGlobalZero === false) return;
    const boundary = this.#others === undefined ? 'micro-batch' : 'step';
    process.stderr.write(
      `${signal}: stopping after this ${boundary} and saving a checkpoint. Once more stops at once.\n`,
    );
  }
}
