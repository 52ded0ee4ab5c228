/** A window of many ranks on its way through a checkpoint, seen by one rank at a time. */
import { beforeAll, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
import { RowSparse } from '../autograd/row-sparse.ts';
import { Module } from '../modules/module.ts';
import { Parameter } from '../modules/parameter.ts';
import { stored } from '../modules/stored.testing.ts';
import { expectClose } from '../ops/reference.testing.ts';
import { SGD } from '../optimizers/sgd.ts';
import type { StoredState } from '../stateful.ts';
import { tf, type Scalar } from '../tensors.ts';
import { FixedScaler } from './fixed-scaler.testing.ts';
import { GradientWindow } from './gradient-window.ts';
import { ownGradients, type Reduction } from './reduction.ts';

class Matrix extends Module {
  readonly weight = new Parameter(tf.zeros([3, 2]));
  readonly table = new Parameter(tf.zeros([3, 2]));
  forward(): Scalar {
    return tf.sum(this.weight.value);
  }
}

beforeAll(() => useBackend('cpu'));

/** A rank of `worldSize`, which keeps `shard` of `weight`. */
function rankOf(rank: number, worldSize: number, shard?: Parameter, firstRow = 0) {
  const model = new Matrix();
  const reduction: Reduction = {
    ...ownGradients,
    rank,
    worldSize,
    ...(shard && {
      shardOf: (parameter) => (parameter === model.weight ? { parameter: shard, firstRow } : null),
    }),
  };
  const window = new GradientWindow(new FixedScaler(2), reduction);
  window.addModule(model);
  return { model, window };
}

/** What two ranks had gathered: of `weight` a whole on rank 0, and rows 0-1 and 2 as shards; of `table` rows on rank 1. */
function storedByTwo(): StoredState {
  const shards = [new Parameter(tf.zeros([2, 2])), new Parameter(tf.zeros([1, 2]))] as const;
  const states = shards.map((shard, rank) => {
    const { model, window } = rankOf(rank, 2, shard, rank * 2);
    tf.dispose(window.add(model, () => model.forward(), 3 + rank));
    if (rank === 1) model.zeroGrad();
    shard.grad = tf.fill([...shard.shape], 10 * (rank + 1));
    if (rank === 1) model.table.grad = new RowSparse(Int32Array.of(0, 2), tf.tensor2d([1, 2, 3, 4], [2, 2]), 3);
    return stored(window.stateDict());
  });
  return { ...(states[0] as StoredState), byRank: states };
}

it('each rank of as many takes its own part, shards into shards', () => {
  const shard = new Parameter(tf.zeros([1, 2]));
  const { model, window } = rankOf(1, 2, shard, 2);
  window.loadStateDict(storedByTwo());
  expect([window.items, window.microBatches]).toEqual([4, 1]);
  expect(model.weight.grad).toBeNull();
  expect([...(shard.grad as tf.Tensor).dataSync()]).toEqual([20, 20]);
  expect((model.table.grad as RowSparse).indices).toEqual(Int32Array.of(0, 2));
});

it('one process takes the sum of all ranks', async () => {
  const { model, window } = rankOf(0, 1);
  window.loadStateDict(storedByTwo());
  expect([window.items, window.microBatches]).toEqual([7, 2]);
  // The whole of rank 0: three items, scaled by 2. Then the shards.
  expect([...(model.weight.grad as tf.Tensor).dataSync()]).toEqual([16, 16, 16, 16, 26, 26]);
  const optimizer = new SGD(model.parameters(), { lr: 14 });
  await window.close(optimizer, {});
  expect([...model.weight.value.dataSync()]).toEqual([-16, -16, -16, -16, -26, -26]);
  expectClose([...model.table.value.dataSync()], [-1, -2, 0, 0, -3, -4], 1e-6);
});

it('of three ranks, the first takes the sum, and micro-batches are shared out', () => {
  for (const rank of [0, 1, 2]) {
    const { model, window } = rankOf(rank, 3);
    window.loadStateDict(storedByTwo());
    expect([window.items, window.microBatches]).toEqual([rank === 0 ? 7 : 0, 1]);
    expect(model.weight.grad === null).toBe(rank !== 0);
  }
});

it('refuses rows that the parameter does not have', () => {
  const state = storedByTwo();
  const last = state.byRank?.[1] as StoredState;
  const broken = { ...last, values: { ...last.values, firstRows: { '0.weight': 3 } } };
  const { window } = rankOf(0, 1);
  expect(() => window.loadStateDict({ ...state, byRank: [state, broken] })).toThrow(
    /rows of 0.weight.shard: stored from row 3 on, but it has 3 rows/,
  );
});

it('asks all ranks whether to skip, also when gradients were clipped ahead of the step', async () => {
  const asked: boolean[] = [];
  const model = new Matrix();
  const window = new GradientWindow(new FixedScaler(1), {
    ...ownGradients,
    worldSize: 2,
    agree: (own) => {
      asked.push(own);
      return Promise.resolve(true);
    },
  });
  const optimizer = new SGD([model.weight], { lr: 1 });
  tf.dispose(window.add(model, () => model.forward()));
  await window.clip(optimizer, { clipNorm: 1 });
  expect(() => window.stateDict()).toThrow(/between clipGradients and step/);
  expect(await window.close(optimizer, {})).toMatchObject({ closed: true, stepped: false, discarded: true });
  expect(asked).toEqual([false]);
});
