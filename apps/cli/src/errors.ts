/** How errors reach the user: one line for a mistake of theirs, a stack trace for a mistake of ours. */
import { exitCodes } from './exit-codes.ts';

/** A wrong flag, value or configuration file. Found before tfjs is loaded, hence no TensorloomError. Exit code 2. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UsageError';
  }
}

/** TensorloomError codes that mean that the command line, not the world, is wrong. */
const usageCodes: ReadonlySet<string> = new Set(['UNKNOWN_NAME', 'BAD_OPTION', 'CONFLICTING_OPTIONS', 'UNSUPPORTED']);

/**
 * Prints `error` to standard error and returns the exit code. `TENSORLOOM_DEBUG=1` adds the stack of a user's mistake. A mistake in the
 * command line is the same on all ranks of a machine: the first tells it.
 */
export async function reportError(error: unknown): Promise<number> {
  if (error instanceof UsageError) return (await isFirstHere()) ? print(error, exitCodes.usage) : exitCodes.usage;
  // Loaded only now: core brings tfjs along, which takes a second.
  const { TensorloomError } = await import('@tensorloom/core');
  if (error instanceof TensorloomError) {
    if (!usageCodes.has(error.code)) return print(error, exitCodes.failure);
    return (await isFirstHere()) ? print(error, exitCodes.usage) : exitCodes.usage;
  }
  if (isSystemError(error)) return print(error, exitCodes.failure);
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.stderr.write('This is a defect of tensorloom: please report it with the lines above.\n');
  return exitCodes.failure;
}

/** Whether this process was started alone, or is the first rank of its machine. */
async function isFirstHere(): Promise<boolean> {
  // Without any of these variables no rank was started, and core need not be loaded.
  if (!['RANK', 'OMPI_COMM_WORLD_RANK', 'SLURM_PROCID', 'JOB_COMPLETION_INDEX'].some((name) => name in process.env))
    return true;
  const [{ detectClusterEnvironment }] = await Promise.all([
    import('@tensorloom/core'),
    import('@tensorloom/strategies'),
  ]);
  try {
    return (detectClusterEnvironment(process.env)?.localRank ?? 0) === 0;
  } catch {
    // Variables that are wrong are what is to be told.
    return true;
  }
}

function print(error: Error, exitCode: number): number {
  process.stderr.write(`error: ${error.message}\n`);
  if (process.env.TENSORLOOM_DEBUG === '1') process.stderr.write(`${error.stack ?? ''}\n`);
  return exitCode;
}

/** An error of the operating system (disk full, no permission): its message names the path, a stack would add nothing. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'errno' in error;
}
