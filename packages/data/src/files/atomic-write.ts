/** Writes whole files or none: to a temporary name beside the target, fsynced, renamed. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { TensorloomError } from '@tensorloom/core';
import { reasonOf } from './reason.ts';

/** @throws TensorloomError `IO` naming the file when it cannot be written (folder not writable, disk full); nothing is left behind then */
export async function writeFileAtomically(path: string, parts: readonly (Uint8Array | string)[]): Promise<void> {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, 'w');
    try {
      for (const part of parts) await file.writeFile(part);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw new TensorloomError('IO', `Cannot write ${path}: ${reasonOf(error)}`, { cause: error });
  }
}
