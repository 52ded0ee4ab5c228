/** What happens to process groups when their process ends: in good order if it comes to its end, with a last word if it fails. */
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';

/** Long enough for a thread to send one message. */
const lastWordMs = 200;

const open = new Set<ProcessGroup>();
let listening = false;

/**
 * From here on, until `releaseFromProcess`: an exception that nobody catches, or an exit code that is not 0, aborts `group`, so that the other
 * ranks fail at once and name this one; a process that has nothing left to do closes it.
 */
export function bindToProcess(group: ProcessGroup): void {
  open.add(group);
  if (listening) return;
  listening = true;
  process.on('uncaughtExceptionMonitor', abortAll);
  process.on('beforeExit', closeAll);
  process.on('exit', abortIfFailed);
}

export function releaseFromProcess(group: ProcessGroup): void {
  open.delete(group);
  if (open.size > 0 || !listening) return;
  listening = false;
  process.off('uncaughtExceptionMonitor', abortAll);
  process.off('beforeExit', closeAll);
  process.off('exit', abortIfFailed);
}

/** `rank 1 failed: Error: out of paper` */
export function lastWord(group: ProcessGroup, error: unknown): string {
  return `rank ${group.rank} failed: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
}

/**
 * How long a rank that has failed lives on: to tell the others, or, where another rank was the cause, to let that one end first, since
 * launchers take the first that ends for the culprit.
 */
export function lingerMs(error: unknown): number {
  return isConsequence(error) ? 3 * lastWordMs : lastWordMs;
}

/** Whether the cause lies with another rank, which all ranks know. */
export function isConsequence(error: unknown): boolean {
  return error instanceof TensorloomError && (error.code === 'ABORTED' || error.code === 'RANK_LOST');
}

function abortAll(error: unknown): void {
  leave(lingerMs(error), (group) => lastWord(group, error));
}

function abortIfFailed(exitCode: number): void {
  if (exitCode !== 0) leave(lastWordMs, (group) => `rank ${group.rank} ended with exit code ${exitCode}`);
}

function leave(milliseconds: number, reason: (group: ProcessGroup) => string): void {
  if (open.size === 0) return;
  for (const group of open) {
    group.abort(reason(group));
    releaseFromProcess(group);
  }
  // Node ends the process, and with it the threads that send, as soon as this returns.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

function closeAll(): void {
  for (const group of open) {
    releaseFromProcess(group);
    group.close().catch((error: unknown) => {
      process.exitCode = 1;
      console.error(error instanceof Error ? error.message : error);
    });
  }
}
