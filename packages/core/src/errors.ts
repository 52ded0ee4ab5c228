/** The error classes of Tensorloom. Each has a stable `code`; the message names what was given, what was expected and what to do. */
import { closest } from 'fastest-levenshtein';

/** Stable, documented codes: programs match on these, never on messages. */
export type ErrorCode =
  | 'UNKNOWN_NAME'
  | 'BAD_OPTION'
  | 'CONFLICTING_OPTIONS'
  | 'UNSUPPORTED'
  | 'MISUSE'
  | 'NOT_LAUNCHED'
  | 'NOT_SET_UP'
  | 'BAD_FILE'
  | 'BAD_CHECKPOINT'
  | 'BAD_DATA'
  | 'NON_FINITE'
  | 'OFFLINE'
  /** Ranks called different collectives. */
  | 'COLLECTIVE_MISMATCH'
  /** A rank died, was cut off, or gives no sign of life. */
  | 'RANK_LOST'
  /** Ranks did not come in time. */
  | 'TIMEOUT'
  /** Another rank ended the job. */
  | 'ABORTED'
  | 'IO';

/** An error that a user can act on: the command line prints its message without a stack trace. */
export class TensorloomError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A name that is in no registry: lists what exists and suggests the nearest. */
export class UnknownNameError extends TensorloomError {
  constructor(kind: string, given: string, known: readonly string[]) {
    super(
      'UNKNOWN_NAME',
      `Unknown ${kind} '${given}'.${suggestion(given, known)} Known: ${known.join(', ') || '(none)'}.`,
    );
  }
}

/** ` Did you mean 'x'?`, or nothing where no known name is near `given`. */
export function suggestion(given: string, known: readonly string[]): string {
  const nearest = nearestName(given, known);
  return nearest === undefined ? '' : ` Did you mean '${nearest}'?`;
}

/** The known name nearest to `given`, if it is near enough to be a slip of the fingers. */
export function nearestName(given: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined;
  const nearest = closest(given, known);
  const common = [...new Set(given)].filter((c) => nearest.includes(c)).length;
  return common >= Math.ceil(new Set(given).size / 2) ? nearest : undefined;
}
