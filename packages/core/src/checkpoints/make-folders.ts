/** Makes a folder and those above it. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Does nothing where the folder exists. Not `mkdir` with `recursive: true`, which in Node.js 20 never returns where the system refuses
 * with ENOENT, as /proc does.
 * @throws the error of the file system, such as EACCES, ENOENT, ENOTDIR (a file is above it), EEXIST (a file has its name)
 */
export function makeFolders(path: string): void {
  const folder = resolve(path);
  const parent = dirname(folder);
  if (!existsSync(parent) && parent !== folder) makeFolders(parent);
  try {
    mkdirSync(folder);
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!isFolder(folder)) throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
