/** Where scalars go while training: files, consoles, services. One file per kind beside this one. */
import type { JsonObject } from '../stateful.ts';

/** A destination of scalars. */
export interface Logger {
  readonly name: string;
  /** Called once, at launch, on rank zero only: what cannot be written is told before any work starts. */
  open?(): void | Promise<void>;
  /** Called on rank zero only, without waiting for the result; a rejection comes up at the next `fabric.log`, `step` or `flushLogs`. `step` counts optimizer steps unless the caller counts something else. */
  logMetrics(metrics: Readonly<Record<string, number>>, step: number): void | Promise<void>;
  logHyperparameters?(parameters: JsonObject): void | Promise<void>;
  /** Everything logged so far is in its place when this settles. */
  flush?(): Promise<void>;
}
