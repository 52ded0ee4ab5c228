import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { CheckpointContent, CheckpointIO, OpenedCheckpoint } from '../checkpoints/checkpoint-io.ts';
import { globalRandom } from '../random.ts';
import type { StoredState } from '../stateful.ts';
import { SingleDeviceStrategy } from '../strategies/single-device.ts';
import { Parameter } from '../modules/parameter.ts';
import { tf } from '../tensors.ts';
import { adam, launched, LinearRegression, regressionBatches } from './fabric.testing.ts';

const root = mkdtempSync(join(tmpdir(), 'tensorloom-fabric-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(root, String(count++));
});

const bad = (message: RegExp) =>
  expect.objectContaining({ code: 'BAD_CHECKPOINT', message: expect.stringMatching(message) });

/** Trains over 3-micro-batch windows; parameters are noised by the global generator, so that its state matters too. */
async function trainer() {
  const fabric = await launched({ strategy: new SingleDeviceStrategy('three', 3) });
  fabric.seedEverything(5);
  const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
  const train = async (from: number, to: number): Promise<number[]> => {
    const losses: number[] = [];
    for (const host of regressionBatches(20).slice(from, to)) {
      host.targets.data[0]! += globalRandom().uniform();
      const batch = fabric.toDevice(host);
      losses.push((await fabric.backward(model, () => model.forward(batch))).loss);
      await fabric.step(optimizer);
    }
    return losses;
  };
  const values = async (parameters: Parameter[] = model.parameters()) =>
    Promise.all(parameters.map(async (parameter) => [...(await parameter.value.data())]));
  return { fabric, model, optimizer, train, values };
}

describe('fabric.save and fabric.load', () => {
  it.each([6, 7, 8])('go on bit for bit after %d micro-batches of windows of 3', async (cut) => {
    const whole = await trainer();
    await whole.train(0, cut);
    const expected = await whole.train(cut, 20);

    const first = await trainer();
    await first.train(0, cut);
    await first.fabric.save(folder, { model: first.model, optimizer: first.optimizer, epoch: 2 });
    const second = await trainer();
    globalRandom().reseed(999);
    const state = { model: second.model, optimizer: second.optimizer, epoch: 0 };
    expect(await second.fabric.load(folder, state)).toEqual({});
    expect(state.epoch).toBe(2);
    expect(await second.train(cut, 20)).toEqual(expected);
    expect(await second.values()).toEqual(await whole.values());
    expect(second.fabric.counts).toEqual(whole.fabric.counts);
  });

  it('take set-up and plain objects for one another, and return what was not asked for', async () => {
    const { fabric, model, optimizer, train, values } = await trainer();
    await train(0, 3);
    await fabric.save(folder, { model, optimizer, epoch: 3, note: { best: Number.NaN } });
    const plain = new LinearRegression(99);
    const rest = await fabric.load(folder, { model: plain });
    expect(await values(plain.parameters())).toEqual(await values());
    expect(Object.keys(rest).sort()).toEqual(['epoch', 'note', 'optimizer']);
    expect(rest['note']).toEqual({ best: Number.NaN });
    const raw = await fabric.loadRaw(folder);
    expect(Object.keys(raw).sort()).toEqual(['epoch', 'model', 'note', 'optimizer']);
    expect([...(raw['model'] as StoredState).tensors.get('bias')!.read().data]).toEqual((await values())[1]);
  });

  it('leave counts, window and random numbers alone when no optimizer is loaded', async () => {
    const { fabric, model, train } = await trainer();
    await fabric.save(folder, { model });
    await train(0, 4);
    const random = globalRandom().stateDict().values;
    await fabric.load(folder, { model });
    expect(fabric.counts.microBatches).toBe(4);
    expect(globalRandom().stateDict().values).toEqual(random);
    await fabric.load(folder, { model }, { restoreProgress: true });
    expect(fabric.counts.microBatches).toBe(0);
  });

  it('name every key that is missing or of another kind', async () => {
    const { fabric, model, optimizer } = await trainer();
    await fabric.save(folder, { model, epoch: 1 });
    await expect(fabric.load(folder, { model, optimizer, schedule: 1 })).rejects.toEqual(
      bad(/missing: optimizer[^]*missing: schedule[^]*It holds: epoch, model/),
    );
    await expect(fabric.load(folder, { model: 3 })).rejects.toEqual(bad(/'model' is stored as tensors and state/));
    await expect(fabric.load(folder, { epoch: model })).rejects.toEqual(
      bad(/'epoch' is stored as a plain value, but a LinearRegression was given/),
    );
    expect(await fabric.load(folder, { model, optimizer, schedule: 1 }, { strict: false })).toEqual({ epoch: 1 });
  });

  it('name every tensor that is missing, unexpected or of another shape, and change nothing then', async () => {
    const { fabric, model, values } = await trainer();
    await fabric.save(folder, { model });
    class Other extends LinearRegression {
      readonly extra = new Parameter(tf.scalar(1));
      override readonly bias = new Parameter(tf.tensor1d([1, 2]));
    }
    const other = new Other(3);
    const before = await values(other.parameters());
    await expect(fabric.load(folder, { model: other })).rejects.toEqual(
      bad(/Loading 'model'[^]*missing: extra[^]*shape of bias: stored \[1\], expected \[2\]/),
    );
    expect(await values(other.parameters())).toEqual(before);
  });

  it('keep what a filter lets through', async () => {
    const { fabric, model } = await trainer();
    await fabric.save(folder, { model }, { filter: { model: (name) => name !== 'bias' } });
    await expect(fabric.load(folder, { model })).rejects.toEqual(bad(/missing: bias/));
    await fabric.load(folder, { model }, { strict: false });
    await expect(fabric.save(folder, { model }, { filter: { optimizer: () => true } })).rejects.toMatchObject({
      code: 'MISUSE',
      message: expect.stringMatching(/filter for 'optimizer'/),
    });
  });

  it('refuse what a checkpoint cannot hold, and damaged checkpoints before anything is changed', async () => {
    const { fabric, model, optimizer, values, train } = await trainer();
    await train(0, 3);
    await expect(fabric.save(folder, { callback: () => 1 })).rejects.toMatchObject({
      code: 'MISUSE',
      message: expect.stringMatching(/state\.callback is function/),
    });
    await expect(fabric.save(folder, { 'fabric.random': 1 })).rejects.toMatchObject({ code: 'MISUSE' });
    await fabric.save(folder, { model, optimizer });
    truncateSync(join(folder, 'optimizer.safetensors'), 5);
    const other = new LinearRegression(3);
    const before = await values(other.parameters());
    await expect(fabric.load(folder, { model: other })).rejects.toEqual(bad(/optimizer\.safetensors has 5 bytes/));
    expect(await values(other.parameters())).toEqual(before);
    await expect(fabric.load(join(root, 'absent'), { model })).rejects.toEqual(bad(/no such folder/));
  });

  it('go through a CheckpointIO of the user', async () => {
    const kept = new Map<string, CheckpointContent>();
    const io: CheckpointIO = {
      saveCheckpoint: async (path, content) => void kept.set(path, content),
      openCheckpoint: async (path): Promise<OpenedCheckpoint> => ({
        statefuls: new Map(),
        values: kept.get(path)!.values,
      }),
      removeCheckpoint: async (path) => void kept.delete(path),
    };
    const fabric = await launched({ plugins: [io] });
    await fabric.save('somewhere', { epoch: 4 });
    const state = { epoch: 0 };
    await fabric.load('somewhere', state);
    expect(state.epoch).toBe(4);
  });

  it('initModule with emptyInit draws no random numbers', async () => {
    const fabric = await launched();
    fabric.seedEverything(1);
    const before = globalRandom().stateDict().values;
    const made = fabric.initModule(() => new LinearRegression(), { emptyInit: true });
    expect([...(await made.weight.value.data())]).toEqual([0, 0]);
    expect(globalRandom().stateDict().values).toEqual(before);
    expect([...(await fabric.shardedModel(() => new LinearRegression()).weight.value.data())]).not.toEqual([0, 0]);
  });
});
