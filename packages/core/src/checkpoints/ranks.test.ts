import { readdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { HostTensor } from '../host-tensor.ts';
import type { StateDict } from '../stateful.ts';
import { tf } from '../tensors.ts';
import { isCompleteCheckpoint } from './checkpoint-folder.ts';
import { contentOf, io, newFolder, reshard, saveWhole, shardsOf, whole } from './ranks.testing.ts';
import { allInWorld } from './world.testing.ts';

let folder: string;
let path: string;
beforeEach(() => {
  ({ folder, path } = newFolder());
});

describe('a checkpoint of several ranks', () => {
  it('has a file of each rank for what is its own, and one for what is shared', async () => {
    await saveWhole(path);
    const many = join(folder, 'many');
    await allInWorld(4, async (group) => {
      const { statefuls } = await io.openCheckpoint(path, group);
      const optimizer = shardsOf(statefuls.get('optimizer')!.tensors, group);
      await io.saveCheckpoint(
        many,
        { ...contentOf(group.rank), statefuls: { ...contentOf(group.rank).statefuls, optimizer } },
        group,
      );
    });
    const numbered = (key: string) => [0, 1, 2, 3].map((rank) => `${key}.rank-000${rank}-of-0004.safetensors`);
    expect(readdirSync(many).sort()).toEqual([
      'model.safetensors',
      ...numbered('optimizer'),
      ...numbered('random'),
      'state.json',
    ]);
    expect(readdirSync(folder).sort()).toEqual(['checkpoint', 'many']);
    expect(await isCompleteCheckpoint(many, true)).toBe(true);
    const { statefuls, values } = await io.openCheckpoint(many);
    expect(values).toEqual({ epoch: 2 });
    expect([...statefuls.keys()]).toEqual(['model', 'random', 'optimizer']);
    expect(statefuls.get('optimizer')!.values).toEqual({ step: 3 });
    expect(statefuls.get('model')!.byRank).toBeUndefined();
  });

  it('goes from 1 rank to 4, 2, 3 and 1 with every bit the same', async () => {
    await saveWhole(path);
    const original = readFileSync(join(path, 'optimizer.safetensors'));
    for (const worldSize of [4, 2, 3, 1]) await reshard(worldSize, path);
    expect(readdirSync(path)).toEqual(['optimizer.safetensors', 'state.json']);
    expect(readFileSync(join(path, 'optimizer.safetensors'))).toEqual(original);
  });

  it('is read in one process as if it were whole, rows of any range from the files that have them', async () => {
    await saveWhole(path);
    await reshard(4, path);
    const { tensors } = (await io.openCheckpoint(path)).statefuls.get('optimizer')!;
    for (const [name, { data, shape }] of Object.entries(whole)) {
      expect(tensors.get(name)!.shape).toEqual(shape);
      expect(tensors.get(name)!.read()).toEqual(new HostTensor(data, shape));
    }
    // Rows 3 to 6 are rank 1's alone.
    for (const rank of [0, 2, 3]) truncateSync(join(path, `optimizer.rank-000${rank}-of-0004.safetensors`), 1);
    expect(tensors.get('table')!.readRows(4, 6).data).toEqual(whole['table']!.data.slice(12, 18));
    expect(() => tensors.get('table')!.readRows(2, 4)).toThrow(expect.objectContaining({ code: 'BAD_FILE' }));
  });

  it("gives each rank its own in a world of the same size, else rank zero's, and always all of them", async () => {
    const save = (worldSize: number) =>
      allInWorld(worldSize, (group) => io.saveCheckpoint(path, contentOf(group.rank), group));
    const seeds = (worldSize: number) =>
      allInWorld(worldSize, async (group) => {
        const state = (await io.openCheckpoint(path, group)).statefuls.get('random')!;
        const noise = state.tensors.get('noise')!.read();
        expect([...noise.data]).toEqual(Array(noise.shape[0]).fill(state.values['seed']));
        return [
          state.values['seed'],
          state.byRank!.map(({ values, tensors }) => [values['seed'], tensors.get('noise')!.shape]),
        ];
      });
    const all = [0, 1, 2].map((rank) => [rank, [rank + 1]]);
    await save(3);
    expect(await seeds(3)).toEqual([0, 1, 2].map((rank) => [rank, all]));
    for (const size of [1, 2, 4]) expect(await seeds(size)).toEqual(Array(size).fill([0, all]));
    await save(1);
    expect(readdirSync(path).sort()).toEqual(['model.safetensors', 'random.safetensors', 'state.json']);
    expect(await seeds(2)).toEqual(Array(2).fill([0, [[0, [1]]]]));
  });

  it("joins the shards of what is else each rank's own", async () => {
    await allInWorld(2, (group) => {
      const window: StateDict = {
        tensors: { gradient: tf.fill([2], group.rank), count: tf.scalar(group.rank) },
        values: { items: group.rank },
        shards: new Set(['gradient']),
        scope: 'rank',
      };
      return io.saveCheckpoint(path, { statefuls: { window }, values: {} }, group);
    });
    const states = await allInWorld(2, async (group) =>
      (await io.openCheckpoint(path, group)).statefuls.get('window')!,
    );
    states.forEach(({ tensors, values }, rank) => {
      expect([...tensors.get('gradient')!.read().data]).toEqual([0, 0, 1, 1]);
      expect([...tensors.get('count')!.read().data]).toEqual([rank]);
      expect(values).toEqual({ items: rank });
    });
  });

  it('needs what is shared of rank zero only', async () => {
    await allInWorld(2, (group) => {
      const state: StateDict =
        group.rank === 0 ? { tensors: { scale: tf.scalar(7) }, values: { a: 1 } } : { tensors: {}, values: {} };
      return io.saveCheckpoint(path, { statefuls: { state }, values: {} }, group);
    });
    const { tensors, values } = (await io.openCheckpoint(path)).statefuls.get('state')!;
    expect([tensors.get('scale')!.read().data[0], values]).toEqual([7, { a: 1 }]);
  });

  it('takes a rank that has no such tensor for one without rows of it', async () => {
    await allInWorld(3, (group) => {
      const tensors = group.rank === 2 ? {} : { bias: tf.fill([1], group.rank) };
      const state: StateDict = { tensors, values: {}, shards: new Set(['bias']) };
      return io.saveCheckpoint(path, { statefuls: { state }, values: {} }, group);
    });
    expect([...(await io.openCheckpoint(path)).statefuls.get('state')!.tensors.get('bias')!.read().data]).toEqual([
      0, 1,
    ]);
  });
});
