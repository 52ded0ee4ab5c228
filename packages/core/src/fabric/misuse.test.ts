import { describe, expect, it } from 'vitest';
import { Adam } from '../optimizers/adam.ts';
import { tf, type Scalar } from '../tensors.ts';
import { Fabric } from './fabric.ts';
import { adam, launched, LinearRegression, Parameterless } from './fabric.testing.ts';

/** A matcher for a TensorloomError. */
const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('misuse of Fabric', () => {
  it('before launch', async () => {
    const fabric = new Fabric({ accelerator: 'cpu' });
    const model = new LinearRegression();
    const notLaunched = error('NOT_LAUNCHED', /await fabric\.launch\(\)/);
    await expect(fabric.setup(model, adam())).rejects.toEqual(notLaunched);
    await expect(fabric.backward(model, () => tf.scalar(1))).rejects.toEqual(notLaunched);
    await expect(fabric.step(new Adam(model.parameters()))).rejects.toEqual(notLaunched);
    await expect(fabric.save('/nowhere', {})).rejects.toEqual(notLaunched);
    await expect(fabric.barrier()).rejects.toEqual(notLaunched);
    expect(() => fabric.setupDataLoader([])).toThrow(notLaunched);
    expect(() => fabric.autocast(() => 1)).toThrow(notLaunched);
    expect(() => fabric.device).toThrow(notLaunched);
  });

  it('of what was not set up', async () => {
    const fabric = await launched();
    const raw = new LinearRegression();
    const rawOptimizer = new Adam(raw.parameters());
    const [model] = await fabric.setup(raw, adam());
    await expect(fabric.backward(raw, () => tf.scalar(1))).rejects.toEqual(error('NOT_SET_UP', /await fabric\.setup/));
    await expect(fabric.step(rawOptimizer)).rejects.toEqual(error('NOT_SET_UP', /await fabric\.setup/));
    await expect(fabric.clipGradients(model, rawOptimizer, { clipNorm: 1 })).rejects.toEqual(
      error('NOT_SET_UP', /optimizer/),
    );
  });

  it('setting up twice, or what does not belong together', async () => {
    const fabric = await launched();
    const raw = new LinearRegression();
    const [model, optimizer] = await fabric.setup(raw, adam());
    await expect(fabric.setup(raw)).rejects.toEqual(error('MISUSE', /set up before/));
    await expect(fabric.setup(model)).rejects.toEqual(error('MISUSE', /set up before/));
    await expect(fabric.setup(new LinearRegression(), optimizer)).rejects.toEqual(
      error('MISUSE', /optimizer was set up before/),
    );
    await expect(fabric.setup(new Parameterless(), adam())).rejects.toEqual(
      error('MISUSE', /Parameterless has no parameters/),
    );
    await expect(fabric.setup(new LinearRegression(), new Adam(raw.parameters()))).rejects.toEqual(
      error('MISUSE', /2 of the optimizer's 2 parameters are not of LinearRegression/),
    );
    await expect(fabric.setup({} as never)).rejects.toEqual(error('MISUSE', /takes a Module/));
    expect(() => fabric.setupOptimizers(new LinearRegression() as never, adam())).toThrow(
      error('NOT_SET_UP', /module that was set up/),
    );
  });

  it('a refused set-up leaves the module as it was', async () => {
    const fabric = await launched();
    const raw = new LinearRegression();
    await expect(fabric.setup(raw, new Adam(new LinearRegression().parameters()))).rejects.toThrow();
    await expect(fabric.setup(raw, adam())).resolves.toHaveLength(2);
  });

  it('in what backward is given', async () => {
    const fabric = await launched();
    const [model] = await fabric.setup(new LinearRegression(), adam());
    const weight = () => model.weight.value;
    await expect(fabric.backward(model, () => weight().square() as never)).rejects.toEqual(
      error('MISUSE', /scalar loss.*shape \[2, 1\].*mean/),
    );
    await expect(fabric.backward(model, (async () => weight().sum()) as never)).rejects.toEqual(
      error('MISUSE', /synchronous/),
    );
    await expect(fabric.backward(model, () => ({ logits: weight() }) as never)).rejects.toEqual(
      error('MISUSE', /scalar loss/),
    );
    await expect(fabric.backward(model, weight().sum() as never)).rejects.toEqual(error('MISUSE', /takes a closure/));
    await expect(fabric.backward(model, () => weight().sum() as Scalar, { item: 3 } as never)).rejects.toEqual(
      error('BAD_OPTION', /unknown option 'item'. Did you mean 'items'/),
    );
    await expect(fabric.backward(model, () => weight().sum() as Scalar, { items: Number.NaN })).rejects.toEqual(
      error('BAD_OPTION', /items is NaN/),
    );
  });

  it('of a second backward before the first has ended', async () => {
    const fabric = await launched();
    const [model] = await fabric.setup(new LinearRegression(), adam());
    const compute = () => tf.tidy(() => model.weight.value.sum() as Scalar);
    const [first, second] = await Promise.allSettled([
      fabric.backward(model, compute),
      fabric.backward(model, compute),
    ]);
    expect(first.status).toBe('fulfilled');
    expect(second).toMatchObject({ status: 'rejected', reason: error('MISUSE', /await each call/) });
  });

  it('stepping or clipping without a gradient, or with options that do not go together', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    await expect(fabric.step(optimizer)).rejects.toEqual(error('MISUSE', /without a fabric\.backward/));
    expect(await fabric.step(optimizer, { flush: true })).toBe(false);
    await expect(fabric.clipGradients(model, optimizer, { clipNorm: 1 })).rejects.toEqual(
      error('MISUSE', /without a fabric\.backward/),
    );
    await fabric.backward(model, () => tf.tidy(() => model.weight.value.sum() as Scalar));
    await expect(fabric.clipGradients(model, optimizer, {})).rejects.toEqual(
      error('CONFLICTING_OPTIONS', /exactly one.*got none/),
    );
    await expect(fabric.clipGradients(model, optimizer, { maxNorm: 1, clipValue: 1 })).rejects.toEqual(
      error('CONFLICTING_OPTIONS', /got maxNorm and clipValue/),
    );
    await expect(fabric.clipGradients(model, optimizer, { clipNorm: -1 })).rejects.toEqual(
      error('BAD_OPTION', /clipNorm is -1/),
    );
    await expect(fabric.step(optimizer, { clipNorm: 1, clipValue: 1 })).rejects.toEqual(
      error('CONFLICTING_OPTIONS', /clipNorm and clipValue/),
    );
    await expect(fabric.step(optimizer, { clipnorm: 1 } as never)).rejects.toEqual(
      error('BAD_OPTION', /Did you mean 'clipNorm'/),
    );
    expect(() => optimizer.step()).toThrow(error('MISUSE', /await fabric\.step\(optimizer\)/));
    expect(() => optimizer.zeroGrad()).toThrow(error('MISUSE', /open window/));
    await fabric.step(optimizer);
    expect(() => optimizer.zeroGrad()).not.toThrow();
  });

  it('of a device that the accelerator does not have', async () => {
    await expect(new Fabric({ accelerator: 'cpu', devices: [5] }).launch()).rejects.toEqual(
      error('UNSUPPORTED', /device 5.*'cpu' sees 1/),
    );
    await new Fabric({ accelerator: 'cpu', devices: [0] }).launch();
  });

  it('of loaders', async () => {
    const fabric = await launched();
    expect(() => fabric.setupDataLoader(3 as never)).toThrow(error('MISUSE', /iterated over/));
    expect(() => fabric.setupDataLoader(fabric.setupDataLoader([1]) as never)).toThrow(
      error('MISUSE', /set up before/),
    );
  });
});
