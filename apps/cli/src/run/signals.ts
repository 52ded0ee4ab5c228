/**
 * Ctrl-C and SIGTERM. While there is something to save, the first signal only asks the loop to stop after its micro-batch;
 * at all other times, and at the second signal, the process exits at once. Exit codes 130 and 143.
 */
import { exitCodes } from '../exit-codes.ts';

export type StopSignal = 'SIGINT' | 'SIGTERM';

export function exitCodeOf(signal: StopSignal): number {
  return signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated;
}

export class Signals {
  #requested: StopSignal | undefined;
  #saving = false;
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
    process.stderr.write(
      `${signal}: stopping after this micro-batch and saving a checkpoint. Once more stops at once.\n`,
    );
  }
}
