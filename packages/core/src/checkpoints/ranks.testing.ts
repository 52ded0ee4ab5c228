/** For tests of checkpoints of several ranks: what they save, in a folder that is removed at the end. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { HostTensor } from '../host-tensor.ts';
import type { StateDict, StoredState } from '../stateful.ts';
import { tf } from '../tensors.ts';
import { CheckpointFolderIO } from './checkpoint-folder.ts';
import type { CheckpointContent } from './checkpoint-io.ts';
import { allInWorld } from './world.testing.ts';

const root = mkdtempSync(join(tmpdir(), 'tensorloom-ranks-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

/** A new empty folder, and a path in it for a checkpoint. */
export function newFolder(): { readonly folder: string; readonly path: string } {
  const folder = join(root, String(count++));
  mkdirSync(folder);
  return { folder, path: join(folder, 'checkpoint') };
}

export const io = new CheckpointFolderIO();

/** Tensors of many heights, also less than there are ranks. */
export const whole: Record<string, HostTensor> = {
  table: new HostTensor(
    Float32Array.from({ length: 30 }, (_, i) => Math.fround(Math.sin(i) * 1e-3)),
    [10, 3],
  ),
  bias: new HostTensor(Float32Array.of(-0, 1e-45, 3), [3]),
  single: new HostTensor(Float32Array.of(1, 2), [1, 2]),
  rows: new HostTensor(Int32Array.of(3, 1, 4, 1, 5, 9, 2), [7]),
};

type Place = Pick<ProcessGroup, 'rank' | 'worldSize'>;
const rowsOf = (height: number, { rank, worldSize }: Place): [number, number] => {
  const share = Math.ceil(height / worldSize);
  return [Math.min(height, rank * share), Math.min(height, (rank + 1) * share)];
};
const toTensor = ({ data, shape, dtype }: HostTensor) => tf.tensor(data, [...shape], dtype);

/** What a rank holds of `tensors`. */
export function shardsOf(tensors: StoredState['tensors'], place: Place): StateDict {
  const own = [...tensors].map(([name, stored]) => {
    const host = stored.readRows(...rowsOf(stored.shape[0]!, place));
    return [name, toTensor(host)] as const;
  });
  return { tensors: Object.fromEntries(own), values: { step: 3 }, shards: new Set(tensors.keys()) };
}

export const model = (): StateDict => ({
  tensors: { weight: tf.tensor1d([1, 2]), scale: tf.scalar(3) },
  values: { note: 'x' },
});
export const random = (rank: number): StateDict => ({
  tensors: { noise: tf.fill([rank + 1], rank) },
  values: { seed: rank },
  scope: 'rank',
});

/** `whole` as one rank saves it. */
export async function saveWhole(path: string): Promise<void> {
  const tensors = Object.fromEntries(Object.entries(whole).map(([name, host]) => [name, toTensor(host)]));
  const state: StateDict = { tensors, values: { step: 3 }, shards: new Set(Object.keys(tensors)) };
  await io.saveCheckpoint(path, { statefuls: { optimizer: state }, values: {} });
}

/** Opens `path` in a world, and lets each of its ranks save its rows again. */
export const reshard = (worldSize: number, path: string, to = path) =>
  allInWorld(worldSize, async (group) => {
    const { statefuls } = await io.openCheckpoint(path, group);
    const state = shardsOf(statefuls.get('optimizer')!.tensors, group);
    await io.saveCheckpoint(to, { statefuls: { optimizer: state }, values: {} }, group);
  });

export const contentOf = (rank: number): CheckpointContent => ({
  statefuls: { model: model(), random: random(rank) },
  values: { epoch: 2 },
});
