/** Logs on their way to loggers that write asynchronously, and the failures of those, kept until someone can be told. */
import { TensorloomError } from '../errors.ts';
import type { Logger } from './logger.ts';

export class PendingLogs {
  readonly #pending = new Set<Promise<void>>();
  #failure: TensorloomError | undefined;

  /** Hands `metrics` to a logger without waiting. An error that it throws at once passes through. */
  send(logger: Logger, metrics: Readonly<Record<string, number>>, step: number): void {
    const result = logger.logMetrics(metrics, step);
    if (result === undefined) return;
    const settled = Promise.resolve(result)
      .catch((error: unknown) => this.#note(logger, error))
      .finally(() => this.#pending.delete(settled));
    this.#pending.add(settled);
  }

  /** Waits for everything sent so far, and for the loggers' own buffers. */
  async flush(loggers: readonly Logger[]): Promise<void> {
    await Promise.all(this.#pending);
    for (const logger of loggers) await logger.flush?.().catch((error: unknown) => this.#note(logger, error));
  }

  /** Each failure is thrown once; of several since the last call, the first. @throws TensorloomError `IO` naming the logger */
  throwFailure(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  #note(logger: Logger, error: unknown): void {
    this.#failure ??= new TensorloomError(
      'IO',
      `The logger '${logger.name}' failed: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}
