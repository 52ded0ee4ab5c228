import { describe, expect, it } from 'vitest';
import { Adam } from '../optimizers/adam.ts';
import { tf, type Scalar } from '../tensors.ts';
import { Fabric } from './fabric.ts';
import { adam, launched, LinearRegression, regressionBatches } from './fabric.testing.ts';

/** A matcher for a TensorloomError. */
const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('training with Fabric', () => {
  it('learns, and leaves no tensor behind from step to step', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam(0.1));
    const loader = fabric.setupDataLoader(regressionBatches(60));
    const losses: number[] = [];
    const tensors: number[] = [];
    for await (const batch of loader) {
      const { loss, predictions, items } = await fabric.backward(model, () => model.forward(batch));
      expect(predictions.isDisposed).toBe(false);
      expect(items).toBe(4);
      expect(await fabric.step(optimizer)).toBe(true);
      losses.push(loss);
      tensors.push(tf.memory().numTensors);
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 20);
    expect(new Set(tensors.slice(2)).size).toBe(1);
    expect(fabric.counts).toMatchObject({ microBatches: 60, steps: 60, skippedSteps: 0 });
    expect(fabric.lastStep).toMatchObject({ closed: true, stepped: true, gradientNorm: expect.any(Number) });
  });

  it('takes a closure that returns the scalar alone', async () => {
    const fabric = await launched();
    const [model] = await fabric.setup(new LinearRegression(), adam());
    const { loss } = await fabric.backward(model, () => tf.tidy(() => model.weight.value.square().sum() as Scalar));
    expect(loss).toBeGreaterThan(0);
  });

  it('frees extra outputs with the next backward, but not what the closure only passed on', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    const batch = fabric.toDevice(regressionBatches(1)[0]!);
    const run = () => fabric.backward(model, () => ({ ...model.forward(batch), inputs: batch.inputs }));
    const first = await run();
    await fabric.step(optimizer);
    await run();
    expect(first.predictions.isDisposed).toBe(true);
    expect(batch.inputs.isDisposed).toBe(false);
  });

  it('gives the optimizer step through the wrapper, with its fields writable', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam(0.5));
    expect(optimizer.lr).toBe(0.5);
    optimizer.groups[0]!.lr = 0.25;
    expect(optimizer.unwrapped.lr).toBe(0.25);
    expect(optimizer).toBeInstanceOf(Adam);
    expect(model).toBeInstanceOf(LinearRegression);
  });

  it('sets up module and optimizers apart', async () => {
    const fabric = await launched();
    const model = await fabric.setupModule(new LinearRegression());
    const [optimizer] = fabric.setupOptimizers(model, adam());
    const batch = fabric.toDevice(regressionBatches(1)[0]!);
    await fabric.backward(model, () => model.forward(batch));
    expect(await fabric.step(optimizer)).toBe(true);
  });

  it('works as the base of a trainer, whose run finds it launched', async () => {
    class Trainer extends Fabric {
      override async run(factor: number): Promise<number> {
        expect(this.isLaunched).toBe(true);
        return factor * this.worldSize;
      }
    }
    expect(await new Trainer({ accelerator: 'cpu' }).run(3)).toBe(3);
    await expect(new Fabric({ accelerator: 'cpu' }).run()).rejects.toEqual(error('MISUSE', /override it/));
  });

  it('launches once, and runs a function when it has', async () => {
    const fabric = new Fabric({ accelerator: 'cpu' });
    await Promise.all([fabric.launch(), fabric.launch()]);
    expect(await fabric.launch((launchedFabric) => launchedFabric.device)).toBe('cpu:0');
    expect(fabric).toMatchObject({ isGlobalZero: true, globalRank: 0, localRank: 0, nodeRank: 0, worldSize: 1 });
  });
});
