/** Work that all ranks do together: it is done on all of them, or fails on all of them. */
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError, type ErrorCode } from '../errors.ts';

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}
type Outcome<T> = { readonly value: T | null } | { readonly failure: Failure };

/**
 * Runs `work` on every rank and gives every rank the results of all, by rank. All ranks call it, in the same order as each other's
 * collectives. Without a group, or alone in it, it is just the call.
 * @param what for the message: `saving /runs/a`
 * @param work gives a JSON value; it may use collectives only where no rank can fail before them
 * @throws TensorloomError with the failing rank's code and message, naming the rank, on every rank; an error of no code is `ABORTED`
 *   on the others and itself on the rank where it was thrown
 */
export async function onAllRanks<T>(
  group: ProcessGroup | undefined,
  what: string,
  work: () => Promise<T> | T,
): Promise<T[]> {
  if (group === undefined || group.worldSize === 1) return [await work()];
  let own: Outcome<T>;
  let thrown: unknown;
  try {
    own = { value: (await work()) ?? null };
  } catch (error) {
    thrown = error;
    own = { failure: describe(error) };
  }
  const outcomes = await exchange(group, own, thrown);
  if (thrown instanceof Error && !(thrown instanceof TensorloomError)) throw thrown;
  const failures = outcomes.flatMap((outcome, rank) => ('failure' in outcome ? [{ rank, ...outcome.failure }] : []));
  const [first, ...others] = failures;
  if (first === undefined) return outcomes.map((outcome) => (outcome as { value: T }).value);
  const more = others.length === 0 ? '' : ` (Also failed: rank ${others.map(({ rank }) => rank).join(', ')}.)`;
  throw new TensorloomError(first.code, `Rank ${first.rank} failed while ${what}: ${first.message}${more}`, {
    cause: thrown,
  });
}

/** As JSON, which a checkpoint's values are anyway: no medium changes it. */
async function exchange<T>(group: ProcessGroup, own: Outcome<T>, thrown: unknown): Promise<Outcome<T>[]> {
  try {
    return (await group.allGatherObject(JSON.stringify(own))).map((text) => JSON.parse(text) as Outcome<T>);
  } catch (error) {
    // What broke the group, if it broke in the work, says more than that it is broken.
    throw thrown ?? error;
  }
}

function describe(error: unknown): Failure {
  if (error instanceof TensorloomError) return { code: error.code, message: error.message };
  return { code: 'ABORTED', message: error instanceof Error ? error.message : String(error) };
}
