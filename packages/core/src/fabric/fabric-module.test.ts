import { describe, expect, it } from 'vitest';
import { tf } from '../tensors.ts';
import { unwrapModule } from './fabric-module.ts';
import { launched, LinearRegression } from './fabric.testing.ts';

const inputs = () => tf.tensor2d([1, 2], [1, 2]);
const misuse = (message: RegExp) =>
  expect.objectContaining({ code: 'MISUSE', message: expect.stringMatching(message) });

describe('a set-up module', () => {
  it('is the module in all but how it computes: fields, private fields, names, state dict', async () => {
    const fabric = await launched();
    const raw = new LinearRegression();
    const model = await fabric.setup(raw);
    expect(model).toBeInstanceOf(LinearRegression);
    expect(model.describe()).toBe('a model that knows 42');
    expect(model.parameters()).toEqual(raw.parameters());
    expect(Object.keys(model.stateDict().tensors)).toEqual(['weight', 'bias']);
    expect(model.parameterCount()).toBe(3);
    expect(model.unwrapped).toBe(raw);
    expect(unwrapModule(model)).toBe(raw);
    model.eval();
    expect(raw.training).toBe(false);
    model.training = true;
    expect(raw.training).toBe(true);
  });

  it('refuses another method that reads parameters, naming the way to allow it', async () => {
    const fabric = await launched();
    const model = await fabric.setup(new LinearRegression());
    expect(() => model.predict(inputs())).toThrow(
      misuse(/LinearRegression\.predict reads parameter 'weight' outside forward.*markForwardMethod\('predict'\)/),
    );
    await expect(model.predictLater(inputs())).rejects.toEqual(misuse(/predictLater/));
    // Reading parameters from outside a method is no computation, and the guard has gone with the method.
    expect(model.weight.value.shape).toEqual([2, 1]);
    model.markForwardMethod('predict');
    expect(model.predict(inputs()).shape).toEqual([1, 1]);
    expect(() => model.markForwardMethod('weight')).toThrow(misuse(/no method of that name/));
  });

  it('lets a guarded method compute through a marked one or through the wrapper', async () => {
    const fabric = await launched();
    const model = await fabric.setup(new LinearRegression());
    const batch = { inputs: inputs(), targets: tf.tensor2d([1], [1, 1]) };
    expect(() => model.forwardTwice(batch)).toThrow(misuse(/forwardTwice/));
    model.markForwardMethod('forwardTwice');
    expect(model.forwardTwice(batch)).toBe(2);
  });
});
