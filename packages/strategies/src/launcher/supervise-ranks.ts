/** Waits for ranks to end; when one fails, sees to it that the others end too. */
import type { RankExit, RankProcess } from './rank-process.ts';

export interface SuperviseOptions {
  readonly graceMs: number;
  readonly killMs: number;
  /** Whether the user has asked the ranks to end: then they take the time that they need. */
  readonly isStopping: () => boolean;
  readonly log: (line: string) => void;
}

/**
 * Ends when all ranks have ended. After a failure the others have `graceMs` to end by themselves, then they get SIGTERM, and
 * after `killMs` SIGKILL.
 * @returns the exit of the rank that failed first, or null if none did
 */
export async function superviseRanks(
  ranks: readonly RankProcess[],
  options: SuperviseOptions,
): Promise<RankExit | null> {
  const { graceMs, killMs, isStopping, log } = options;
  const timers: NodeJS.Timeout[] = [];
  let first: RankExit | null = null;
  const endOthers = (): void => {
    timers.push(setTimeout(() => signalAll(ranks, 'SIGTERM'), graceMs));
    timers.push(setTimeout(() => signalAll(ranks, 'SIGKILL'), graceMs + killMs));
  };
  const watch = async (rank: RankProcess): Promise<void> => {
    const exit = await rank.ended;
    if (exit.code === 0 || first !== null) return;
    first = exit;
    if (isStopping()) return;
    log(
      `rank ${exit.rank} failed first: ${exit.signal === null ? `exit code ${exit.code}` : `ended by ${exit.signal}`}.`,
    );
    endOthers();
  };
  try {
    await Promise.all(ranks.map(watch));
  } catch (error) {
    // A program that cannot be started: the others, if any, cannot go on without it.
    signalAll(ranks, 'SIGKILL');
    await Promise.allSettled(ranks.map((rank) => rank.ended));
    throw error;
  } finally {
    timers.forEach(clearTimeout);
  }
  return first;
}

export function signalAll(ranks: readonly RankProcess[], signal: NodeJS.Signals): void {
  for (const rank of ranks) rank.signal(signal);
}
