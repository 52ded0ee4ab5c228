/** Where downloads, trained tokenizers and tokenized data sets are kept between runs, and how their names are made. */
import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$TENSORLOOM_CACHE`, else `$XDG_CACHE_HOME/tensorloom`, else `~/.cache/tensorloom`. Everything in it can be deleted: it is made anew when needed. */
export function defaultCacheDir(): string {
  return process.env.TENSORLOOM_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tensorloom');
}

/** The first 32 hexadecimal digits of the SHA-256 of `parts` as JSON: equal content gives an equal name. */
export function contentKey(...parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
