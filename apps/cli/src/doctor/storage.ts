/** The cache folder: how large it is and whether it can be written. */
import { accessSync, constants, existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defaultCacheDir } from '@tensorloom/data';

export interface CacheFinding {
  readonly path: string;
  readonly exists: boolean;
  /** It can be written, or made if it is not there. */
  readonly writable: boolean;
  readonly files: number;
  readonly bytes: number;
}

export function examineCache(path: string = defaultCacheDir()): CacheFinding {
  const exists = existsSync(path);
  return {
    path,
    exists,
    writable: isWritable(nearestExisting(path)),
    ...(exists ? sizeOf(path) : { files: 0, bytes: 0 }),
  };
}

function nearestExisting(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestExisting(dirname(path));
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function sizeOf(folder: string): { files: number; bytes: number } {
  let files = 0;
  let bytes = 0;
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const found = lstatSync(join(folder, name), { throwIfNoEntry: false });
    if (found === undefined || !found.isFile()) continue;
    files++;
    bytes += found.size;
  }
  return { files, bytes };
}
