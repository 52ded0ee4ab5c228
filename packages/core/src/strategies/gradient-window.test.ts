import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { HostTensor } from '../host-tensor.ts';
import { storedInMemory } from '../stored-tensor.ts';
import { Module } from '../modules/module.ts';
import { Parameter } from '../modules/parameter.ts';
import { stored } from '../modules/stored.testing.ts';
import { crossEntropy } from '../ops/cross-entropy.ts';
import { embeddingLookup } from '../ops/embedding-lookup.ts';
import { linear } from '../ops/linear.ts';
import { expectClose, values } from '../ops/reference.testing.ts';
import { Adam } from '../optimizers/adam.ts';
import { SGD } from '../optimizers/sgd.ts';
import { tf, type Scalar } from '../tensors.ts';
import { FixedScaler } from './fixed-scaler.testing.ts';
import { GradientWindow } from './gradient-window.ts';

/** Next-token prediction by a table and a head. */
class Tiny extends Module {
  readonly table = new Parameter(tf.tensor2d(values(12 * 4, 1), [12, 4]));
  readonly head = new Parameter(tf.tensor2d(values(12 * 4, 2), [12, 4]));

  forward(ids: number[], labels: number[]): { loss: Scalar; items: number } {
    return crossEntropy(
      linear(embeddingLookup(this.table, tf.tensor1d(ids, 'int32')), this.head),
      tf.tensor1d(labels, 'int32'),
    );
  }
}

const ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
const labels = [1, 4, -100, 5, 9, 2, -100, -100, 3, 5];
const wholeBatch = [[0, 10]] as const;
const unequal = [
  [0, 1],
  [1, 7],
  [7, 10],
] as const;

function add(window: GradientWindow, model: Tiny, [from, to]: readonly [number, number]): void {
  tf.dispose(window.add(model, () => model.forward(ids.slice(from, to), labels.slice(from, to))).loss);
}

const read = (parameter: Parameter): number[] => [...parameter.value.dataSync()];

describe.each(testBackends())('an accumulation window on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([1, 1024])(
    'steps as one large batch would, whatever the micro-batches and their masked tokens (loss scale %d)',
    async (scale) => {
      const results = [];
      for (const parts of [wholeBatch, unequal]) {
        const model = new Tiny();
        const optimizer = new SGD(model.parameters(), { lr: 0.5 });
        const window = new GradientWindow(new FixedScaler(scale));
        for (const part of parts) add(window, model, part);
        expect(window.items).toBe(7);
        const result = await window.close(optimizer, {});
        expect(result).toMatchObject({ closed: true, stepped: true });
        results.push({ norm: result.gradientNorm as number, table: read(model.table), head: read(model.head) });
        expect(window.microBatches).toBe(0);
        expect(model.table.grad).toBeNull();
        model.dispose();
      }
      const [whole, parts] = results as [(typeof results)[0], (typeof results)[0]];
      expectClose([parts.norm], [whole.norm], 1e-6);
      expectClose(parts.table, whole.table, 1e-6);
      expectClose(parts.head, whole.head, 1e-6);
    },
  );

  it('clips the mean gradient by norm or value, ahead of the step or in it', async () => {
    const run = async (clip: (window: GradientWindow, optimizer: SGD) => Promise<unknown>): Promise<number[]> => {
      const model = new Tiny();
      const optimizer = new SGD(model.parameters(), { lr: 1 });
      const window = new GradientWindow(new FixedScaler(8));
      for (const part of unequal) add(window, model, part);
      const before = [...read(model.table), ...read(model.head)];
      await clip(window, optimizer);
      const moves = [...read(model.table), ...read(model.head)].map((w, i) => (before[i] as number) - w);
      model.dispose();
      return moves;
    };
    const norm = (moves: number[]): number => Math.hypot(...moves);
    let found = 0;
    const free = await run((window, optimizer) => window.close(optimizer, {}));
    const inStep = await run(
      async (window, optimizer) => (found = (await window.close(optimizer, { clipNorm: 0.1 })).gradientNorm as number),
    );
    expectClose([found, norm(inStep)], [norm(free), 0.1], 1e-5);
    let reported = 0;
    const ahead = await run(async (window, optimizer) => {
      expectClose([await window.clip(optimizer, { clipNorm: 0.1 })], [norm(free)], 1e-5);
      reported = (await window.close(optimizer, {})).gradientNorm as number;
    });
    expectClose(ahead, inStep, 1e-6);
    expectClose([reported], [norm(free)], 1e-5);
    const byValue = await run((window, optimizer) => window.close(optimizer, { clipValue: 0.05 }));
    expectClose(
      byValue,
      free.map((move) => Math.max(-0.05, Math.min(0.05, move))),
      1e-6,
    );
    const byValueAhead = await run(async (window, optimizer) => {
      await window.clip(optimizer, { clipValue: 0.05 });
      await window.close(optimizer, {});
    });
    expectClose(byValueAhead, byValue, 1e-6);
  });

  it.each([NaN, Infinity])('skips the step for gradients of %d, empties the window, and says so', async (bad) => {
    const model = new Tiny();
    const optimizer = new Adam(model.parameters());
    const scaler = new FixedScaler(2);
    const window = new GradientWindow(scaler);
    add(window, model, [0, 5]);
    const spoiled = window.add(model, () => ({ loss: tf.mul(model.head.value, bad).sum() as Scalar }));
    tf.dispose(spoiled.loss);
    const before = read(model.head);
    const result = await window.close(optimizer, { clipNorm: 1 });
    expect(result.closed && !result.stepped).toBe(true);
    expect(Number.isFinite(result.gradientNorm)).toBe(false);
    expect(scaler.updates).toEqual([false]);
    expect(read(model.head)).toEqual(before);
    expect([model.head.grad, model.table.grad, window.microBatches]).toEqual([null, null, 0]);
    add(window, model, [0, 5]);
    expect((await window.close(optimizer, {})).stepped).toBe(true);
    model.dispose();
    optimizer.dispose();
  });

  it('skips the step of a discarded window, and has nothing to close when empty', async () => {
    const model = new Tiny();
    const optimizer = new SGD(model.parameters(), { lr: 1 });
    const window = new GradientWindow(new FixedScaler(1));
    const before = read(model.head);
    expect(await window.close(optimizer, {})).toEqual({ closed: false, stepped: false });
    add(window, model, [0, 3]);
    expect(await window.close(optimizer, { discard: true })).toMatchObject({ closed: true, stepped: false });
    expect(await window.close(optimizer, {})).toEqual({ closed: false, stepped: false });
    expect(read(model.head)).toEqual(before);
    model.dispose();
  });

  it('lets a window without items pass without a move or a NaN', async () => {
    const model = new Tiny();
    const optimizer = new SGD(model.parameters(), { lr: 1 });
    const window = new GradientWindow(new FixedScaler(4));
    const before = read(model.head);
    tf.dispose(window.add(model, () => model.forward([1, 2], [-100, -100])).loss);
    expect(await window.close(optimizer, { clipNorm: 1 })).toMatchObject({ closed: true, gradientNorm: 0 });
    expect(read(model.head)).toEqual(before);
    model.dispose();
  });

  it('serves two optimizers, each for its own parameters', async () => {
    const [one, two] = [new Tiny(), new Tiny()];
    const first = new SGD([one.table], { lr: 0.5 });
    const second = new SGD([one.head], { lr: 0.5 });
    const joint = new SGD(two.parameters(), { lr: 0.5 });
    const [windowOne, windowTwo] = [new GradientWindow(new FixedScaler(2)), new GradientWindow(new FixedScaler(2))];
    for (let round = 0; round < 2; round++) {
      for (const part of unequal) {
        add(windowOne, one, part);
        add(windowTwo, two, part);
      }
      await windowOne.close(first, {});
      await windowOne.close(second, {});
      await windowTwo.close(joint, {});
    }
    expect(read(one.head)).toEqual(read(two.head));
    expect(read(one.table)).toEqual(read(two.table));
    one.dispose();
    two.dispose();
  });

  it('goes on from its state in the middle of a window to the last bit', async () => {
    const run = async (interrupt: boolean): Promise<number[]> => {
      let model = new Tiny();
      let window = new GradientWindow(new FixedScaler(16));
      window.addModule(model);
      for (const part of unequal.slice(0, 2)) add(window, model, part);
      if (interrupt) {
        const state = stored(window.stateDict());
        expect([...state.tensors.keys()].sort()).toEqual(['0.head', '0.table.indices', '0.table.rows']);
        model.dispose();
        model = new Tiny();
        window = new GradientWindow(new FixedScaler(16));
        window.addModule(model);
        window.loadStateDict(state);
        expect([window.items, window.microBatches]).toEqual([5, 2]);
      }
      add(window, model, unequal[2]);
      await window.close(new SGD(model.parameters(), { lr: 0.5 }), {});
      const result = [...read(model.table), ...read(model.head)];
      model.dispose();
      return result;
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it('stores no gradients between windows, and refuses a state of another model', () => {
    const model = new Tiny();
    const window = new GradientWindow(new FixedScaler(1));
    window.addModule(model);
    expect(window.stateDict()).toEqual({
      tensors: {},
      values: { items: 0, microBatches: 0, scale: 1, firstRows: {} },
      scope: 'rank',
    });
    const foreign = new Map([['0.other', storedInMemory(new HostTensor(new Float32Array(1), [1]))]]);
    expect(() => window.loadStateDict({ tensors: foreign, values: { items: 1, microBatches: 1, scale: 1 } })).toThrow(
      /unexpected: 0.other/,
    );
    model.dispose();
  });

  it('refuses limits below zero, two limits at once, and items that are no number', async () => {
    const model = new Tiny();
    const optimizer = new SGD(model.parameters(), { lr: 1 });
    const window = new GradientWindow(new FixedScaler(1));
    await expect(window.close(optimizer, { clipNorm: 1, clipValue: 1 })).rejects.toThrow(
      /both clipNorm 1 and clipValue 1/,
    );
    await expect(window.close(optimizer, { clipNorm: -1 })).rejects.toThrow(/clipNorm is -1/);
    expect(() => window.add(model, () => model.forward([1], [2]), -1)).toThrow(/-1 items/);
    expect(window.microBatches).toBe(0);
    model.dispose();
  });

  it('holds the same number of tensors after each window', async () => {
    const model = new Tiny();
    const optimizer = new Adam(model.parameters());
    const window = new GradientWindow(new FixedScaler(2));
    const counts = new Set<number>();
    for (let i = 0; i < 4; i++) {
      for (const part of unequal) add(window, model, part);
      await window.close(optimizer, { clipNorm: 0.5 });
      counts.add(tf.memory().numTensors);
    }
    expect(counts.size).toBe(1);
    optimizer.dispose();
    model.dispose();
  });
});
