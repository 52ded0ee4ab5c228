/** Logs on their way to loggers that write asynchronously, and the failures of those, kept until someone can be told. */
import { TensorloomError } from '../errors.ts';
import type { Logger } from './logger.ts';

export class PendingLogs {
  readonly #pending = new Set<Promise<void>>();
  #failure: TensorloomError | undefined;

  /** Hands `metrics` to a logger without waiting. @throws TensorloomError `IO` naming the logger, or its own, if it fails at once */
  send(logger: Logger, metrics: Readonly<Record<string, number>>, step: number): void {
    let result: void | Promise<void>;
    try {
      result = logger.logMetrics(metrics, step);
    } catch (error) {
      throw error instanceof TensorloomError ? error : failureOf(logger, error);
    }
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
    this.#failure ??= failureOf(logger, error);
  }
}

function failureOf(logger: Logger, error: unknown): TensorloomError {
  const what = error instanceof Error ? error.message : String(error);
  return new TensorloomError('IO', `The logger '${logger.name}' failed: ${what}`, { cause: error });
}
