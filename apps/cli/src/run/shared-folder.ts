/** Whether all ranks see the run folder that rank zero has made: on several machines it must be on a file system that they share. */
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Fabric } from '@tensorloom/core';
import { UsageError } from '../errors.ts';

/** Network file systems show new files to other machines after a while. */
const PATIENCE_MS = 5_000;

/**
 * All ranks call it, and all throw alike.
 * @throws UsageError naming the first rank that does not see the folder, and its machine
 */
export async function requireSharedFolder(
  fabric: Pick<Fabric, 'allGather' | 'broadcast' | 'isGlobalZero' | 'worldSize'>,
  folder: string,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  if (fabric.worldSize === 1) return;
  // A name that no folder of the same path elsewhere has.
  const name = await fabric.broadcast(`.seen-by-all-ranks-${randomBytes(8).toString('hex')}`);
  const path = join(folder, name);
  if (fabric.isGlobalZero) writeFileSync(path, '');
  try {
    await fabric.broadcast('written');
    const seen = await fabric.allGather((await appears(path, patienceMs)) ? 1 : 0);
    const blind = seen.indexOf(0);
    if (blind === -1) return;
    const [here, there] = [await fabric.broadcast(hostname()), await fabric.broadcast(hostname(), blind)];
    throw new UsageError(
      `Rank ${blind} on ${there} does not see the run folder ${folder}, which rank 0 made on ${here}. ` +
        'Give an --output-dir on a file system that all machines share, and under the same path.',
    );
  } finally {
    if (fabric.isGlobalZero) rmSync(path, { force: true });
  }
}

async function appears(path: string, patienceMs: number): Promise<boolean> {
  const deadline = Date.now() + patienceMs;
  while (!existsSync(path)) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return true;
}
