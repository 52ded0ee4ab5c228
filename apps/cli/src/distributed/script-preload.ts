/** Loaded before a script of `tensorloom run`: how its TypeScript is read, and how its errors reach the user. */
import { register } from 'node:module';
import { extname } from 'node:path';
import { inspect } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import { exitCodes } from '../exit-codes.ts';

/** Codes of a TensorloomError that say that the script or its options are wrong: starting it anew would not help. */
const usageCodes: ReadonlySet<unknown> = new Set(['UNKNOWN_NAME', 'BAD_OPTION', 'CONFLICTING_OPTIONS', 'UNSUPPORTED']);

// Threads that the script starts have errors of their own.
if (isMainThread) {
  register(`./script-formats${extname(new URL(import.meta.url).pathname)}`, import.meta.url);
  process.on('uncaughtException', report);
}

function report(error: unknown): void {
  // A script that has a handler of its own decides itself.
  if (process.listenerCount('uncaughtException') > 1) return;
  const code = codeOf(error);
  const shown = code === undefined || process.env.TENSORLOOM_DEBUG === '1' ? inspect(error) : messageOf(error);
  process.stderr.write(`${shown}\n`);
  process.exit(usageCodes.has(code) ? exitCodes.usage : exitCodes.failure);
}

/** Of a TensorloomError, by its name: a script may have a copy of core of its own. */
function codeOf(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return error.name === 'TensorloomError' || error.name === 'UnknownNameError' ? error.code : undefined;
}

function messageOf(error: unknown): string {
  return `error: ${(error as Error).message}`;
}
