/** A checkpoint of one strategy and number of ranks, resumed under others. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointFolderIO, SingleProcessGroup } from '@tensorloom/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runLocalRanks } from '../testing/local-ranks.testing.ts';
import { endToEnd, MICRO_BATCHES, runLeg, type Leg, type LegResult } from './resume-elsewhere.testing.ts';

const url = new URL('./resume-elsewhere.testing.ts', import.meta.url);
const folder = mkdtempSync(join(tmpdir(), 'tensorloom-resume-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface World {
  readonly strategy: string;
  readonly worldSize: number;
}
const worlds: readonly World[] = [
  { strategy: 'fsdp', worldSize: 4 },
  { strategy: 'fsdp', worldSize: 3 },
  { strategy: 'ddp', worldSize: 2 },
  { strategy: 'accumulate', worldSize: 1 },
];
const end = 3 * MICRO_BATCHES;
/** Micro-batches before the checkpoint. A window that is open has to be whole on all ranks: 4 of 12 are no matter for 3 ranks. */
const cuts = [
  { name: 'between two steps', at: MICRO_BATCHES, worlds },
  {
    name: 'in the middle of a window',
    at: MICRO_BATCHES + 4,
    worlds: worlds.filter(({ worldSize }) => 4 % worldSize === 0),
  },
] as const;
type Cut = (typeof cuts)[number];

const label = ({ strategy, worldSize }: World): string => `${strategy} on ${worldSize}`;
const pathOf = (world: World, cut: Cut): string => join(folder, `${label(world)} ${cut.name}`.replaceAll(' ', '-'));

/** Runs legs of many worlds, those of one size in one start of ranks, and gives each leg's results by rank. */
async function runAll(legs: readonly (Leg & World)[]): Promise<Map<Leg, LegResult[]>> {
  const results = new Map<Leg, LegResult[]>();
  for (const size of new Set(legs.map(({ worldSize }) => worldSize))) {
    const own = legs.filter(({ worldSize }) => worldSize === size);
    const byRank = size === 1 ? [await oneByOne(own)] : await runLocalRanks<LegResult[]>(size, url, own);
    own.forEach((leg, i) =>
      results.set(
        leg,
        byRank.map((rank) => rank[i] as LegResult),
      ),
    );
  }
  return results;
}

async function oneByOne(legs: readonly Leg[]): Promise<LegResult[]> {
  const results: LegResult[] = [];
  for (const leg of legs) results.push(await runLeg(new SingleProcessGroup(), leg));
  return results;
}

function difference(a: Float32Array, b: Float32Array): number {
  expect(a).toHaveLength(b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] as number))), 0);
}

const saves = cuts.flatMap((cut) =>
  cut.worlds.map((world) => ({ cut, leg: { ...world, from: 0, to: cut.at, save: pathOf(world, cut) } })),
);
const resumes = saves.flatMap(({ cut, leg: { strategy, worldSize, save } }) =>
  cut.worlds.map((world) => ({
    saved: { strategy, worldSize },
    cut,
    leg: { ...world, from: cut.at, to: end, load: save },
  })),
);
const wholes = worlds.map((world) => ({ ...world, from: 0, to: end }));
let saved: Map<Leg, LegResult[]>;
let resumed: Map<Leg, LegResult[]>;
let undisturbed: LegResult;
beforeAll(async () => {
  undisturbed = await runLeg(new SingleProcessGroup(), { strategy: 'accumulate', from: 0, to: end });
  // Starting ranks takes longer than their runs: two starts of each number have to do.
  saved = await runAll([...saves.map(({ leg }) => leg), ...wholes]);
  resumed = await runAll(resumes.map(({ leg }) => leg));
});

describe('a checkpoint', () => {
  it.each(saves.map(({ cut, leg }) => [label(leg), cut.name, leg] as const))(
    'of %s, %s, is the same in one process, to the bit',
    async (_label, _cut, leg) => {
      const { statefuls } = await new CheckpointFolderIO().openCheckpoint(leg.save);
      const stored = endToEnd(statefuls.get('model')!);
      for (const { parameters } of saved.get(leg)!) expect(parameters).toEqual(stored);
      const files = readdirSync(leg.save).filter((name) => name.startsWith('model.'));
      // One of each rank for its shards, and one for scalars, which cannot be sharded.
      expect(files).toHaveLength(leg.strategy === 'fsdp' ? leg.worldSize + 1 : 1);
    },
  );
});

describe('resuming ends with the parameters of a run that was not disturbed', () => {
  it.each(resumes.map(({ saved: from, cut, leg }) => [label(from), cut.name, label(leg), leg] as const))(
    'saved by %s, %s, resumed by %s',
    (_from, _cut, _to, leg) => {
      const [first, ...others] = resumed.get(leg)! as [LegResult, ...LegResult[]];
      expect(difference(first.parameters, undisturbed.parameters)).toBeLessThan(1e-5);
      expect(first.steps).toBe(undisturbed.steps);
      for (const other of others) expect(other).toEqual(first);
    },
  );

  it.each(saves.map(({ cut, leg }) => [label(leg), cut.name, leg] as const))(
    'and to the bit with those of its own world: %s, %s',
    (_label, _cut, leg) => {
      const isSame = ({ strategy, worldSize }: World): boolean =>
        strategy === leg.strategy && worldSize === leg.worldSize;
      const again = resumes.find((resume) => resume.leg.load === leg.save && isSame(resume.leg))!;
      expect(resumed.get(again.leg)).toEqual(saved.get(wholes.find(isSame)!));
    },
  );
});
