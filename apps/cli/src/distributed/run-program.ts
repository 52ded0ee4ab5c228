/** One program in the place of this process: its streams, signals passed on, its exit code. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Returns the exit code, or 128 + the number of the signal that ended it. */
export async function runProgram(
  [program, ...args]: readonly string[],
  variables: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const child = spawn(program as string, args, { stdio: 'inherit', env: variables });
  // Ctrl-C reaches both by the terminal; a signal to this process alone is passed on.
  const pass = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' || process.stdin.isTTY !== true) child.kill(signal);
  };
  for (const signal of passedOn) process.on(signal, pass);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) =>
        resolve(signal === null ? (code as number) : 128 + constants.signals[signal]),
      );
    });
  } finally {
    for (const signal of passedOn) process.off(signal, pass);
  }
}
