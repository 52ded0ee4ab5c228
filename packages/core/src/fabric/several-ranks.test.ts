import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { failures } from '../checkpoints/world.testing.ts';
import type { Logger } from '../loggers/logger.ts';
import type { StoredState } from '../stateful.ts';
import type { StepOptions, StepResult } from '../strategies/strategy.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import { globalRandom } from '../random.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { adam, LinearRegression, regressionBatches } from './fabric.testing.ts';
import { ApartStrategy, onAllOf, onRanks } from './ranks.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'tensorloom-several-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A matcher for a TensorloomError. */
const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

/** Each rank gets every `worldSize`-th number, with a length that may be said wrongly. */
function numbers(count: number, lengthOf: (rank: number) => number | undefined) {
  return {
    *[Symbol.iterator]() {},
    shard: (rank: number, worldSize: number) => ({
      length: lengthOf(rank),
      async *[Symbol.asyncIterator]() {
        for (let i = rank; i < count; i += worldSize) yield i;
      },
    }),
  };
}

describe('several ranks', () => {
  it('know each other, and answer alike whether any of them is true', async () => {
    const answers = await onAllOf(3, async (fabric) => [
      fabric.globalRank,
      fabric.localRank,
      fabric.worldSize,
      await fabric.anyRank(fabric.globalRank === 1),
      await fabric.anyRank(false),
      await fabric.allReduce(fabric.globalRank, 'sum'),
      (await fabric.allGather(fabric.globalRank)).join(' '),
      await fabric.broadcast(fabric.globalRank, 2),
    ]);
    expect(answers).toEqual([0, 1, 2].map((rank) => [rank, rank, 3, true, false, 3, '0 1 2', 2]));
  });

  it('broadcast and gather tensors in nested collections', async () => {
    const results = await onAllOf(2, async (fabric) => {
      const own = { list: [tf.fill([2], fabric.globalRank + 1), 'text'], flag: tf.scalar(1, 'bool') };
      const { list, flag } = await fabric.broadcast(own, 1);
      const gathered = await fabric.allGather({ rows: tf.fill([1, 2], fabric.globalRank, 'int32') });
      return [
        [...(list![0] as Tensor).dataSync()],
        list![1],
        flag.dtype,
        gathered.rows.shape,
        [...gathered.rows.dataSync()],
      ];
    });
    const expected = [[2, 2], 'text', 'bool', [2, 1, 2], [0, 0, 1, 1]];
    expect(results).toEqual([expected, expected]);
  });

  it('broadcast objects that look like what stands for a tensor', async () => {
    const own = { $tensor: 0, shape: [2], dtype: 'float32', inner: { $tensor: 'escaped', object: { x: 1 } } };
    const received = await onAllOf(2, (fabric) => fabric.broadcast(own, 1));
    expect(received).toEqual([own, own]);
  });

  it('run a function first on the first rank of each machine', async () => {
    const order: number[] = [];
    await onAllOf(
      4,
      (fabric) => fabric.rankZeroFirst(() => void order.push(fabric.globalRank), { local: true }),
      () => ({ numNodes: 2 }),
    );
    expect(order.slice(0, 2).sort()).toEqual([0, 2]);
    expect(order.slice(2).sort()).toEqual([1, 3]);
  });

  it('open loggers and log on rank zero only', async () => {
    const told: string[] = [];
    const logger: Logger = {
      name: 'telling',
      open: () => void told.push('open'),
      logMetrics: ({ loss }) => void told.push(`loss ${loss}`),
    };
    await onAllOf(
      2,
      async (fabric) => fabric.log('loss', fabric.globalRank),
      () => ({ loggers: logger }),
    );
    expect(told).toEqual(['open', 'loss 0']);
  });

  it('run a function on rank zero first', async () => {
    const order: number[] = [];
    await onAllOf(3, (fabric) => fabric.rankZeroFirst(() => void order.push(fabric.globalRank)));
    expect(order[0]).toBe(0);
    expect(order.sort()).toEqual([0, 1, 2]);
  });

  it('are refused training loaders of different lengths, and go on where lengths are not known', async () => {
    const passes = await onRanks(2, async (fabric) => {
      const seen: number[] = [];
      const loader = fabric.setupDataLoader(numbers(4, (rank) => rank + 2));
      for await (const batch of loader) seen.push(batch as number);
      return seen;
    });
    for (const failure of failures(passes))
      expect(failure).toEqual(error('BAD_DATA', /rank 0: 2, rank 1: 3.*training to false/));
    const shares = await onAllOf(2, async (fabric) => {
      const seen: unknown[] = [];
      for await (const batch of fabric.setupDataLoader(numbers(4, () => undefined))) seen.push(batch);
      return seen;
    });
    expect(shares).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });

  it('may have different numbers of batches in evaluation: who has ended joins, also after a break, not after a failure', async () => {
    const joined: number[] = [];
    class Joining extends ApartStrategy {
      rank = -1;
      async joinEvaluation(): Promise<void> {
        joined.push(this.rank);
      }
    }
    const evaluate = (broken: boolean, failing: boolean) =>
      onRanks(
        2,
        async (fabric) => {
          (fabric.strategy as Joining).rank = fabric.globalRank;
          const loader = fabric.setupDataLoader(
            numbers(5, (rank) => 3 - rank),
            { training: false },
          );
          let batches = 0;
          if (failing)
            loader.inner[Symbol.asyncIterator as never] = async function* () {
              yield 1;
              throw new Error('torn');
            } as never;
          for await (const _batch of loader) if (++batches === 1 && broken) break;
          return batches;
        },
        () => ({ strategy: new Joining() }),
      );
    expect(await evaluate(false, false)).toMatchObject([{ value: 3 }, { value: 2 }]);
    expect(joined.splice(0).sort()).toEqual([0, 1]);
    expect(await evaluate(true, false)).toMatchObject([{ value: 1 }, { value: 1 }]);
    expect(joined.splice(0).sort()).toEqual([0, 1]);
    for (const failure of failures(await evaluate(false, true))) expect(failure.message).toBe('torn');
    expect(joined).toEqual([]);
  });

  it('count a window that another rank has spoiled as skipped', async () => {
    class Agreeing extends ApartStrategy {
      override async step(optimizer: Optimizer, options: StepOptions): Promise<StepResult> {
        return { ...(await super.step(optimizer, { ...options, discard: true })), discarded: true };
      }
    }
    const counts = await onRanks(
      2,
      async (fabric) => {
        const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
        const compute = () =>
          tf.tidy(() => tf.mul(model.weight.value.sum(), fabric.globalRank === 1 ? NaN : 1) as Scalar);
        for (let i = 0; i < 2; i++) {
          await fabric.backward(model, compute);
          await fabric.step(optimizer);
        }
      },
      () => ({ strategy: new Agreeing(), maxSkippedSteps: 2 }),
    );
    for (const failure of failures(counts))
      expect(failure).toEqual(error('NON_FINITE', /2 skipped steps.*the loss was/));
  });

  it('save and load together, each its own random numbers', async () => {
    const path = join(folder, 'together');
    const batch = regressionBatches(1)[0]!;
    const run = (load: boolean) =>
      onAllOf(2, async (fabric) => {
        const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
        if (load) await fabric.load(path, { model, optimizer });
        else {
          const inputs = fabric.toDevice(batch);
          await fabric.backward(model, () => model.forward(inputs));
          await fabric.step(optimizer);
          await fabric.save(path, { model, optimizer });
        }
        return [fabric.counts.steps, ...model.weight.value.dataSync()];
      });
    expect(await run(true).catch((reason: unknown) => reason)).toEqual(error('BAD_CHECKPOINT', /together/));
    const saved = await run(false);
    globalRandom().reseed(5);
    expect(await run(true)).toEqual(saved);
  });

  it('all fail to save what one of them cannot', async () => {
    const path = join(folder, 'broken');
    const outcomes = await onRanks(2, async (fabric) => {
      const piece = {
        stateDict: () => {
          if (fabric.globalRank === 1) throw new Error('no state');
          return { tensors: {}, values: {} };
        },
        loadStateDict: () => {},
      };
      await fabric.save(path, { piece });
    });
    const [first, second] = failures(outcomes);
    expect(first).toEqual(error('ABORTED', /Rank 1 failed.*no state/));
    expect(second!.message).toBe('no state');
    expect(existsSync(path)).toBe(false);
  });

  it('write the whole module on rank zero, by tensors and by rows, and all fail if that does', async () => {
    const read = (state: StoredState) => {
      const weight = state.tensors.get('weight')!;
      return Promise.resolve([[...weight.shape], weight.read().data.length, weight.readRows(1, 2).shape]);
    };
    const results = await onAllOf(2, async (fabric) => {
      const model = await fabric.setupModule(new LinearRegression());
      const row = await fabric.withWholeModule(model, async (state) => [
        ...state.tensors.get('weight')!.readRows(1, 2).data,
      ]);
      if (row) expect(row).toEqual([model.weight.value.dataSync()[1]]);
      return fabric.withWholeModule(model, read);
    });
    expect(results).toEqual([[[2, 1], 2, [1, 1]], undefined]);
    const outcomes = await onRanks(2, async (fabric) => {
      const model = await fabric.setupModule(new LinearRegression());
      await fabric.withWholeModule(model, () => Promise.reject(new Error('disk full')));
    });
    for (const failure of failures(outcomes)) expect(failure.message).toMatch(/disk full/);
  });

  it('draw random parameters for a model to be sharded on rank zero only', async () => {
    const sums = await onAllOf(2, async (fabric) => {
      const model = fabric.shardedModel(() => new LinearRegression());
      return Math.abs(model.weight.value.dataSync()[0]!) > 0;
    });
    expect(sums).toEqual([true, false]);
  });

  it('hear of a launch(fn) that failed, and are left in good order by one that did not', async () => {
    await onRanks(1, async () => {});
    const outcomes = await onRanks(2, async (fabric, group) => {
      await expect(fabric.launch(() => Promise.reject(new TypeError('out of paper')))).rejects.toThrow('out of paper');
      expect(group.aborted).toEqual([`rank ${fabric.globalRank} failed: TypeError: out of paper`]);
      await expect(fabric.launch()).rejects.toEqual(error('MISUSE', /closed/));
      await fabric.close();
      await fabric.close();
      return group.closed;
    });
    expect(outcomes).toMatchObject([{ value: 1 }, { value: 1 }]);
  });
});
