import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { StateDict } from '../stateful.ts';
import { tf } from '../tensors.ts';
import { isCompleteCheckpoint } from './checkpoint-folder.ts';
import type { CheckpointContent } from './checkpoint-io.ts';
import { contentOf, io, model, newFolder, random } from './ranks.testing.ts';
import { allInWorld, failures, inWorld } from './world.testing.ts';

let folder: string;
let path: string;
beforeEach(() => {
  ({ folder, path } = newFolder());
});

describe('saving that fails on one rank', () => {
  const attempt = async (change: (rank: number) => CheckpointContent) => {
    await allInWorld(3, (group) => io.saveCheckpoint(path, contentOf(group.rank), group));
    const before = readdirSync(path).map((name) => readFileSync(join(path, name)));
    const outcomes = await inWorld(3, (group) => io.saveCheckpoint(path, change(group.rank), group));
    // What was there is whole and the same; nothing else is left.
    expect(readdirSync(folder)).toEqual(['checkpoint']);
    expect(readdirSync(path).map((name) => readFileSync(join(path, name)))).toEqual(before);
    expect(await isCompleteCheckpoint(path, true)).toBe(true);
    return failures(outcomes);
  };
  const unreadable = (error: Error) =>
    ({ ...tf.scalar(1), shape: [1], dtype: 'float32', data: () => Promise.reject(error) }) as never;
  const broken =
    (error: Error, of: number) =>
    (rank: number): CheckpointContent => ({
      ...contentOf(rank),
      statefuls: {
        model: model(),
        random: rank === of ? { ...random(rank), tensors: { noise: unreadable(error) } } : random(rank),
      },
    });

  it.each([0, 1, 2])('for a full disk (injected) at rank %d fails on all, naming it', async (of) => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    for (const error of await attempt(broken(full, of))) {
      expect(error.code).toBe('IO');
      expect(error.message).toMatch(new RegExp(`Rank ${of} failed while saving .*disk is full`));
    }
  });

  it('for an error of our own fails on all, and is itself where it was thrown', async () => {
    const own = new Error('midway');
    const errors = await attempt(broken(own, 1));
    expect(errors[1]).toBe(own);
    for (const rank of [0, 2])
      expect(errors[rank]).toMatchObject({ code: 'ABORTED', message: expect.stringMatching(/Rank 1 .*midway/) });
  });

  it('for values that it cannot hold fails on all before anything is written', async () => {
    const errors = await attempt((rank) => ({
      ...contentOf(rank),
      values: { when: rank === 2 ? (new Date() as never) : 1 },
    }));
    for (const error of errors)
      expect(error).toMatchObject({ code: 'MISUSE', message: expect.stringMatching(/Rank 2 .*state\.when is a Date/) });
  });

  it('for pieces that do not belong together says which ranks differ in what', async () => {
    const piece =
      (state: (rank: number) => StateDict) =>
      (rank: number): CheckpointContent => ({
        values: {},
        statefuls: { state: state(rank) },
      });
    const table = (shape: number[]): StateDict => ({
      tensors: { table: tf.zeros(shape) },
      values: {},
      shards: new Set(['table']),
    });
    const cases: [(rank: number) => CheckpointContent, RegExp][] = [
      [
        piece((rank) => table(rank === 2 ? [2, 4] : [2, 3])),
        /'table' of 'state', but for its rows, is .*\[3\].* on rank 0 and .*\[4\].* on rank 2/,
      ],
      [
        piece((rank) => (rank === 1 ? { ...table([2]), tensors: { table: tf.zeros([2], 'int32') } } : table([2]))),
        /is \["float32",\[\]\] on rank 0 and \["int32",\[\]\] on rank 1/,
      ],
      [
        piece((rank) => (rank === 0 ? { tensors: {}, values: {} } : model())),
        /'weight' of 'state', no shard, is null on rank 0 and .*\[2\].* on rank 1/,
      ],
      [
        piece((rank) => (rank === 1 ? { ...model(), scope: 'rank' } : model())),
        /the scope of 'state' is "shared" on rank 0 and "rank" on rank 1/,
      ],
      [
        piece((rank) => (rank === 0 ? { ...table([2]), shards: new Set() } : table([2]))),
        /'table' of 'state' is "a whole" on rank 0 and "a shard" on rank 1/,
      ],
      [
        (rank) => ({ values: {}, statefuls: rank === 2 ? { other: model() } : { state: model() } }),
        /the list of keys is state on rank 0 and other on rank 2/,
      ],
    ];
    for (const [change, message] of cases)
      for (const error of await attempt(change))
        expect(error).toMatchObject({ code: 'MISUSE', message: expect.stringMatching(message) });
  });

  it('for a scalar that is said to be a shard', async () => {
    const errors = await attempt(() => ({ values: {}, statefuls: { a: { ...model(), shards: new Set(['scale']) } } }));
    expect(errors[0]).toMatchObject({ code: 'MISUSE', message: expect.stringMatching(/'scale' of 'a' is a scalar/) });
  });

  it('for a rank on a host that does not share the folder', async () => {
    const outcomes = await inWorld(2, (group) => {
      const gather = group.allGatherObject.bind(group);
      // What rank 1 hears is a path that is not there, as on a host with another disk.
      if (group.rank === 1)
        group.allGatherObject = async <T>(value: T) =>
          (await gather(value)).map((text) => String(text).replaceAll('.tmp-', '.elsewhere-')) as T[];
      return io.saveCheckpoint(path, contentOf(group.rank), group);
    });
    for (const error of failures(outcomes))
      expect(error).toMatchObject({
        code: 'IO',
        message: expect.stringMatching(/Rank 1 .*does not see .*all hosts share/),
      });
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each([0, 1, 2])('for rank 1 dying before its %d-th meeting fails on the others', async (meeting) => {
    await allInWorld(3, (group) => io.saveCheckpoint(path, contentOf(group.rank), group));
    const { mtimeMs } = statSync(path);
    const outcomes = await inWorld(3, (group) => {
      const gather = group.allGatherObject.bind(group);
      if (group.rank === 1)
        group.allGatherObject = (value) => {
          if (group.calls === meeting) throw new Error('killed');
          return gather(value);
        };
      return io.saveCheckpoint(path, { ...contentOf(group.rank), values: { epoch: 99 } }, group);
    });
    const errors = failures(outcomes);
    for (const rank of [0, 2]) expect(errors[rank]).toMatchObject({ code: 'RANK_LOST' });
    expect(readdirSync(folder)).toEqual(['checkpoint']);
    // The last meeting comes after the rename: the checkpoint is the new one then, and whole.
    expect((await io.openCheckpoint(path)).values).toEqual({ epoch: meeting === 2 ? 99 : 2 });
    expect(statSync(path).mtimeMs === mtimeMs).toBe(meeting !== 2);
  });
});
