import { describe, expect, it } from 'vitest';
import { SGD } from '../optimizers/sgd.ts';
import { SingleDeviceStrategy } from '../strategies/single-device.ts';
import { tf, type Scalar } from '../tensors.ts';
import { adam, launched, LinearRegression } from './fabric.testing.ts';

describe('losses and gradients that are not finite', () => {
  it('spoil their window: the step is skipped, parameters stay, the next window is good again', async () => {
    const fabric = await launched({ strategy: new SingleDeviceStrategy('two', 2) });
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    const backward = (factor: number) =>
      fabric.backward(model, () => tf.tidy(() => tf.mul(model.weight.value.square().sum(), factor) as Scalar));
    const weights = async () => [...(await model.weight.value.data())];
    const before = await weights();
    expect((await backward(Number.NaN)).loss).toBeNaN();
    expect(await fabric.step(optimizer)).toBe(false);
    expect(fabric.lastStep!.closed).toBe(false);
    await backward(1);
    expect(await fabric.step(optimizer)).toBe(false);
    expect(fabric.lastStep).toMatchObject({ closed: true, stepped: false });
    expect(await weights()).toEqual(before);
    await backward(1);
    await fabric.step(optimizer);
    await backward(1);
    expect(await fabric.step(optimizer)).toBe(true);
    expect(await weights()).not.toEqual(before);
    expect(fabric.counts).toMatchObject({ microBatches: 4, steps: 1, skippedSteps: 1, skippedInARow: 0 });
  });

  it('are noticed where the loss is not finite though its gradient is', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    const { loss } = await fabric.backward(model, () =>
      tf.tidy(() => tf.add(model.weight.value.sum(), Infinity) as Scalar),
    );
    expect(loss).toBe(Infinity);
    expect(await fabric.step(optimizer)).toBe(false);
  });

  it('stop training after maxSkippedSteps in a row, with step number and advice', async () => {
    const fabric = await launched({ maxSkippedSteps: 3 });
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    const once = async (factor: number): Promise<boolean> => {
      await fabric.backward(model, () => tf.tidy(() => tf.mul(model.weight.value.square().sum(), factor) as Scalar));
      return fabric.step(optimizer);
    };
    for (const factor of [Number.NaN, Number.NaN, 1, Number.NaN, Number.NaN]) await once(factor);
    await expect(once(Number.NaN)).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringMatching(
        /after 3 skipped steps in a row: the loss was NaN or infinite, last at micro-batch 6, after 1 optimizer steps\. Lower the learning rate/,
      ),
    });
  });
});

describe('fabric.clipGradients', () => {
  async function withGradient(factor: number) {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(
      new LinearRegression(),
      (parameters) => new SGD(parameters, { lr: 1 }),
    );
    await fabric.backward(model, () =>
      tf.tidy(() => ({ loss: tf.mul(model.weight.value.sum(), factor) as Scalar, items: 4 })),
    );
    const gradient = async () => [...(await (model.weight.grad as tf.Tensor).data())];
    return { fabric, model, optimizer, gradient };
  }

  it('divides by the items once, clips by norm, and returns the norm from before', async () => {
    const { fabric, model, optimizer, gradient } = await withGradient(3);
    const norm = await fabric.clipGradients(model, optimizer, { maxNorm: 1 });
    expect(norm).toBeCloseTo(3 * Math.SQRT2, 5);
    (await gradient()).forEach((value) => expect(value).toBeCloseTo(Math.SQRT1_2, 5));
    // The step that follows divides no second time: with a learning rate of 1 weights move by the gradient.
    const before = await model.weight.value.data();
    expect(await fabric.step(optimizer)).toBe(true);
    const after = await model.weight.value.data();
    before.forEach((value, i) => expect(value - after[i]!).toBeCloseTo(Math.SQRT1_2, 5));
  });

  it('clips by value, and measures other norms', async () => {
    const { fabric, model, optimizer, gradient } = await withGradient(3);
    expect(await fabric.clipGradients(model, optimizer, { clipValue: 0.5, normType: Infinity })).toBeCloseTo(3, 5);
    expect(await gradient()).toEqual([0.5, 0.5]);
  });

  it('returns undefined while the window stays open', async () => {
    const fabric = await launched({ strategy: new SingleDeviceStrategy('two', 2) });
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    await fabric.backward(model, () => tf.tidy(() => model.weight.value.sum() as Scalar));
    expect(await fabric.clipGradients(model, optimizer, { clipNorm: 1 })).toBeUndefined();
  });

  it('throws for a norm that is not finite if asked to', async () => {
    const { fabric, model, optimizer } = await withGradient(Infinity);
    await expect(fabric.clipGradients(model, optimizer, { clipNorm: 1, errorIfNonfinite: true })).rejects.toMatchObject(
      { code: 'NON_FINITE' },
    );
    expect(await fabric.step(optimizer)).toBe(false);
  });
});
