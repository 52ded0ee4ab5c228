import { cpSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { isCompleteCheckpoint } from './checkpoint-folder.ts';
import { io, model, newFolder, reshard, saveWhole } from './ranks.testing.ts';
import { rewriteState } from './state-file.testing.ts';
import { allInWorld, failures, inWorld } from './world.testing.ts';

let folder: string;
let path: string;
beforeEach(() => {
  ({ folder, path } = newFolder());
});

describe('opening in a group', () => {
  it('fails on all ranks if one finds a file damaged', async () => {
    await saveWhole(path);
    await reshard(4, path);
    for (const file of readdirSync(path)) {
      const copy = join(folder, 'copy');
      cpSync(path, copy, { recursive: true });
      truncateSync(join(copy, file), statSync(join(copy, file)).size >> 1);
      const outcomes = await inWorld(3, (group) => io.openCheckpoint(copy, group));
      for (const error of failures(outcomes))
        expect(error).toMatchObject({
          code: 'BAD_CHECKPOINT',
          message: expect.stringMatching(
            file === 'state.json' ? /Rank 0.*not JSON/ : new RegExp(`Rank \\d.*${file} has`),
          ),
        });
      rmSync(copy, { recursive: true });
    }
  });

  it('refuses pieces that do not fit together', async () => {
    await saveWhole(path);
    await reshard(2, path);
    type State = {
      statefuls: { optimizer: { shards: string[]; ranks: { file: string }[]; file: string | null } };
      worldSize: number;
    };
    const refused = async (change: (state: State) => void, message: RegExp): Promise<void> => {
      const copy = join(folder, 'copy');
      cpSync(path, copy, { recursive: true });
      rewriteState(copy, (state) => {
        change(state as never);
        return state;
      });
      await expect(io.openCheckpoint(copy)).rejects.toMatchObject({
        code: 'BAD_CHECKPOINT',
        message: expect.stringMatching(message),
      });
      rmSync(copy, { recursive: true });
    };
    await refused(
      ({ statefuls: { optimizer } }) => void optimizer.ranks.pop(),
      /what 1 ranks stored of 'optimizer', of 2/,
    );
    await refused((state) => void (state.worldSize = 3), /what 2 ranks stored of 'optimizer', of 3/);
    await refused(({ statefuls: { optimizer } }) => void optimizer.shards.push('other'), /no rank stored 'other'/);
    await refused(
      ({ statefuls: { optimizer } }) => void optimizer.shards.pop(),
      /is in a rank's file, but is no shard/,
    );
    await refused(
      ({ statefuls: { optimizer } }) => void (optimizer.ranks[1]!.file = '../x'),
      /does not list \.\.\/x as a file/,
    );
    await refused(
      ({ statefuls: { optimizer } }) => void (optimizer.file = optimizer.ranks[0]!.file),
      /is stored as a whole and in shards/,
    );
  });

  it('still reads format version 1, which knew one rank only', async () => {
    await io.saveCheckpoint(path, { statefuls: { model: model() }, values: { epoch: 2 } });
    rewriteState(path, ({ format, files, values }) => ({
      format,
      formatVersion: 1,
      files,
      statefuls: { model: { file: 'model.safetensors', values: { note: 'x' } } },
      values,
    }));
    expect(await isCompleteCheckpoint(path, true)).toBe(true);
    const opened = await allInWorld(2, (group) => io.openCheckpoint(path, group));
    for (const { statefuls, values } of opened) {
      expect(values).toEqual({ epoch: 2 });
      expect(statefuls.get('model')).toMatchObject({ values: { note: 'x' } });
      expect([...statefuls.get('model')!.tensors.get('weight')!.read().data]).toEqual([1, 2]);
    }
  });
});
