import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Adam,
  Fabric,
  strategies,
  tf,
  TensorloomError,
  type FabricModule,
  type FabricOptimizer,
  type Scalar,
} from '@tensorloom/core';
import { afterAll, describe, expect, it } from 'vitest';
import { AccumulateStrategy, DEFAULT_ACCUMULATE } from './index.ts';
import { classifierBatch, SmallClassifier, type SmallBatch } from './small-models.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'tensorloom-accumulate-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Started {
  readonly fabric: Fabric;
  readonly model: FabricModule<SmallClassifier>;
  readonly optimizer: FabricOptimizer<Adam>;
}

async function start(accumulate: number, maxSkippedSteps = 10): Promise<Started> {
  const fabric = new Fabric({
    accelerator: 'cpu',
    strategy: 'accumulate',
    strategyOptions: { accumulate },
    maxSkippedSteps,
  });
  await fabric.launch();
  const [model, optimizer] = await fabric.setup(
    new SmallClassifier(),
    (parameters) => new Adam(parameters, { lr: 1e-2 }),
  );
  return { fabric, model, optimizer };
}

/** One micro-batch; `spoil` changes its loss. Returns whether a step was taken. */
async function train(
  { fabric, model, optimizer }: Started,
  batch: SmallBatch,
  spoil: (loss: Scalar, model: SmallClassifier) => Scalar = (loss) => loss,
): Promise<boolean> {
  await fabric.backward(model, () => {
    const { loss, items } = model.forward(batch);
    return { loss: spoil(loss, model), items };
  });
  return fabric.step(optimizer);
}

function values({ model }: Started): number[] {
  return [...model.namedParameters()].flatMap(([, parameter]) => [...parameter.value.dataSync()]);
}

const batches = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => classifierBatch((seed % 3) + 1, seed));

describe('a window', () => {
  it('takes one step per `accumulate` micro-batches', async () => {
    const run = await start(3);
    const steps: boolean[] = [];
    for (const batch of batches.slice(0, 7)) steps.push(await train(run, batch));
    expect(steps).toEqual([false, false, true, false, false, true, false]);
    expect(run.fabric.counts).toMatchObject({ microBatches: 7, steps: 2 });
  });

  it('leaves parameters alone until it closes', async () => {
    const run = await start(3);
    const before = values(run);
    await train(run, batches[0] as SmallBatch);
    await train(run, batches[1] as SmallBatch);
    expect(values(run)).toEqual(before);
    await train(run, batches[2] as SmallBatch);
    expect(values(run)).not.toEqual(before);
  });

  it('closes early when it is told to flush, and divides by the items that it holds', async () => {
    const flushed = await start(5);
    const full = await start(2);
    for (const batch of batches.slice(0, 2)) {
      await flushed.fabric.backward(flushed.model, () => flushed.model.forward(batch));
      await train(full, batch);
    }
    expect(await flushed.fabric.step(flushed.optimizer, { flush: true })).toBe(true);
    expect(values(flushed)).toEqual(values(full));
  });

  it('has no step to flush when it is empty', async () => {
    const run = await start(2);
    await train(run, batches[0] as SmallBatch);
    await train(run, batches[1] as SmallBatch);
    const after = values(run);
    expect(await run.fabric.step(run.optimizer, { flush: true })).toBe(false);
    expect(values(run)).toEqual(after);
  });

  it('closes after the last micro-batch of each epoch, and the next epoch starts a new one', async () => {
    const run = await start(3);
    const loader = run.fabric.setupDataLoader(batches.slice(0, 4));
    const steps: boolean[] = [];
    for (let epoch = 0; epoch < 2; epoch++)
      for await (const batch of loader) steps.push(await train(run, batch as SmallBatch));
    expect(steps).toEqual([false, false, true, true, false, false, true, true]);
  });

  it('keeps no tensor alive once it is closed', async () => {
    const run = await start(2);
    const live: number[] = [];
    for (let step = 0; step < 6; step++) {
      await train(run, batches[0] as SmallBatch);
      await train(run, batches[1] as SmallBatch);
      live.push(tf.memory().numTensors);
    }
    expect(new Set(live.slice(1)).size).toBe(1);
  });
});

describe('a checkpoint in the middle of a window', () => {
  it.each([1, 2, 3])('after %i of 4 micro-batches goes on to the last bit', async (position) => {
    const whole = await start(4);
    for (const batch of batches) await train(whole, batch);

    const first = await start(4);
    for (const batch of batches.slice(0, position)) await train(first, batch);
    const path = join(folder, `after-${position}`);
    await first.fabric.save(path, { model: first.model, optimizer: first.optimizer });

    const resumed = await start(4);
    await resumed.fabric.load(path, { model: resumed.model, optimizer: resumed.optimizer });
    for (const batch of batches.slice(position)) await train(resumed, batch);
    expect(values(resumed)).toEqual(values(whole));
    expect(resumed.fabric.counts).toEqual(whole.fabric.counts);
  });

  it('is not taken for one of another window size', async () => {
    const first = await start(4);
    await train(first, batches[0] as SmallBatch);
    const path = join(folder, 'other-size');
    await first.fabric.save(path, { model: first.model, optimizer: first.optimizer });
    const other = await start(3);
    await expect(other.fabric.load(path, { model: other.model, optimizer: other.optimizer })).rejects.toThrow(
      /window of 4 micro-batches, but accumulate is 3/,
    );
  });
});

describe('a window with a micro-batch that is not finite', () => {
  const nanLoss = (loss: Scalar): Scalar => tf.mul(loss, NaN);
  /** Adds 0, whose gradient is infinity times 0. */
  const nanGradient = (loss: Scalar, model: SmallClassifier): Scalar =>
    tf.tidy(() => tf.add(loss, tf.sqrt(tf.mul(tf.sum(model.bias.value), 0))));

  it.each([
    ['loss', nanLoss],
    ['gradient', nanGradient],
  ])('(its %s) is skipped as a whole; the next one is as if it had never been', async (_, spoil) => {
    const run = await start(2);
    const before = values(run);
    expect(await train(run, batches[0] as SmallBatch, spoil)).toBe(false);
    expect(await train(run, batches[1] as SmallBatch)).toBe(false);
    expect(run.fabric.lastStep).toMatchObject({ closed: true, stepped: false });
    expect(values(run)).toEqual(before);
    const clean = await start(2);
    for (const started of [run, clean]) for (const batch of batches.slice(2, 4)) await train(started, batch);
    expect(values(run)).toEqual(values(clean));
    expect(run.fabric.counts).toMatchObject({ steps: 1, skippedSteps: 1 });
  });

  it('stops training when it happens too often in a row', async () => {
    const run = await start(2, 2);
    await train(run, batches[0] as SmallBatch, nanLoss);
    await train(run, batches[1] as SmallBatch, nanLoss);
    await train(run, batches[2] as SmallBatch);
    await expect(train(run, batches[3] as SmallBatch, nanLoss)).rejects.toThrow(/2 skipped steps in a row/);
  });
});

describe('options', () => {
  it('is registered by the import of the package', () => {
    expect(strategies.names()).toContain('accumulate');
    expect(strategies.get('accumulate').reach).toBe('single');
  });

  it(`the window has ${DEFAULT_ACCUMULATE} micro-batches by default`, () => {
    expect(new AccumulateStrategy().accumulate).toBe(DEFAULT_ACCUMULATE);
    expect(new AccumulateStrategy({ accumulate: 4 }).accumulate).toBe(4);
  });

  it.each<[unknown, RegExp]>([
    [{ accumulate: 0 }, /accumulate must be at least 1; got 0/],
    [{ accumulate: 2.5 }, /accumulate must be a whole number of micro-batches; got 2\.5/],
    [{ accumulate: '4' }, /accumulate must be a whole number of micro-batches; got "4"/],
    [{ acumulate: 4 }, /no option 'acumulate' \(it has: accumulate\)/],
  ])('%j is refused', (options, message) => {
    const create = (): unknown => strategies.get('accumulate').create(options as Record<string, unknown>);
    expect(create).toThrow(TensorloomError);
    expect(create).toThrow(message);
  });

  it('several devices are refused', async () => {
    const launch = async (): Promise<void> => {
      await new Fabric({ accelerator: 'cpu', devices: 2, strategy: 'accumulate' }).launch();
    };
    await expect(launch()).rejects.toThrow(TensorloomError);
    await expect(launch()).rejects.toThrow(/devices/);
  });

  it('several ranks are refused, whoever made them', () => {
    const strategy = new AccumulateStrategy();
    expect(() => strategy.setup({ processGroup: { worldSize: 4 } } as never)).toThrow(/one device, but 4 ranks/);
  });
});
