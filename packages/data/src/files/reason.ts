/** What went wrong, of anything that was thrown, for the messages of our own errors. */

/** The message of `error`; of what is no Error, its text. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
