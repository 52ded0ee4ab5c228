/** What fills caches and folders: rank zero first, then the first rank of each other machine, then all the rest. */
import type { Fabric } from '@tensorloom/core';

/** Runs `fn` on every rank, in that order, so that later ones find what earlier ones have made. All ranks call it. */
export function firstRanksFirst<T>(fabric: Pick<Fabric, 'rankZeroFirst'>, fn: () => Promise<T>): Promise<T> {
  return fabric.rankZeroFirst(() => fabric.rankZeroFirst(fn, { local: true }));
}
