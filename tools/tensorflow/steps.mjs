/** Small things that the set-up of TensorFlow shares: running commands, and failures that are the user's to mend. */
import { spawnSync } from 'node:child_process';

/** A failure with a message for the user; the set-up prints it without a stack trace and exits 1. */
export class SetupFailure extends Error {}

/** Prints one line of progress. */
export function say(line) {
  console.log(`setup:tensorflow: ${line}`);
}

/**
 * Runs a command; its output is kept and shown only when it fails.
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number, what: string}} options `what` says what was being done
 * @returns {string} standard output
 * @throws {SetupFailure} with the command and the end of its output
 */
export function runQuietly(command, args, { cwd, env, timeoutMs = 1_200_000, what }) {
  const result = spawnSync(command, args, { cwd, env, timeout: timeoutMs, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.status === 0) return result.stdout;
  const reason = result.error?.message ?? (result.signal ? `ended by ${result.signal}` : `exit code ${result.status}`);
  const tail = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n').slice(-30).join('\n');
  throw new SetupFailure(`${what} failed (${reason}): ${command} ${args.join(' ')}\n${tail}`);
}

/** Whether a command runs and exits 0. */
export function canRun(command, args) {
  return spawnSync(command, args, { stdio: 'ignore', timeout: 30_000 }).status === 0;
}
