import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { requireSharedFolder } from './shared-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'tensorloom-shared-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Ranks = Parameters<typeof requireSharedFolder>[0];

/** Rank `rank` of 2, where the other sees what it is said to see. */
function ranks(rank: number, otherSees: number): Ranks {
  const gathered = (own: number): number[] => (rank === 0 ? [own, otherSees] : [otherSees, own]);
  return {
    worldSize: 2,
    isGlobalZero: rank === 0,
    broadcast: async (value: unknown) => value,
    allGather: async (own: unknown) => gathered(own as number),
  } as Ranks;
}

test('a run folder that all ranks see is left as it was', async () => {
  await requireSharedFolder(ranks(0, 1), folder, 0);
  expect(readdirSync(folder)).toEqual([]);
});

test('a rank that does not see it is named with its machine, on all ranks, with what to do', async () => {
  const message = `Rank 1 on ${hostname()} does not see the run folder ${folder}, which rank 0 made on ${hostname()}. Give an --output-dir on a file system that all machines share`;
  await expect(requireSharedFolder(ranks(0, 0), folder, 0)).rejects.toThrow(message);
  expect(readdirSync(folder)).toEqual([]);
  // Nobody has written the file that this one looks for.
  await expect(requireSharedFolder(ranks(1, 1), folder, 0)).rejects.toThrow(message);
});
