/** What scenarios are: functions that every rank of a group runs, in modules of their own so that threads and processes can load them. */
import type { ProcessGroup } from '@tensorloom/core/distributed';

/** A module given to `runLocalRanks` or `runRankProcesses` exports this by the name `scenario`. Input and result are plain data. */
export type Scenario<I = unknown, R = unknown> = (group: ProcessGroup, input: I) => Promise<R>;

/** What makes Node.js run this package from its sources in a process or thread of its own. */
export const SOURCE_ARGUMENTS: readonly string[] = ['--conditions=@tensorloom/source', '--import', 'tsx'];

/** An error as plain data. */
export interface ToldError {
  readonly code: string | undefined;
  readonly message: string;
}

export function tellError(error: unknown): ToldError {
  const code = (error as { readonly code?: unknown }).code;
  return {
    code: typeof code === 'string' ? code : undefined,
    message: error instanceof Error ? error.message : String(error),
  };
}

/** Before what `note` says on standard output. */
export const NOTE_PREFIX = '@note ';

/** Tells the test how far a rank's process is: `onNote` of `runRankProcesses`. */
export function note(text: string): void {
  console.log(`${NOTE_PREFIX}${text}`);
}
