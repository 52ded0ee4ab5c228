import { expect, it } from 'vitest';
import { Module } from '../modules/module.ts';
import { Parameter } from '../modules/parameter.ts';
import { stored } from '../modules/stored.testing.ts';
import { SGD } from '../optimizers/sgd.ts';
import { DynamicLossScaler } from '../precision/loss-scaler.ts';
import { tf, type Scalar } from '../tensors.ts';
import { FixedScaler } from './fixed-scaler.testing.ts';
import { GradientWindow } from './gradient-window.ts';

/** loss = a·left + b·right, so that the gradients are a and b. */
class Pair extends Module {
  readonly left = new Parameter(tf.scalar(0));
  readonly right = new Parameter(tf.scalar(0));

  forward(a: number, b: number): { loss: Scalar } {
    return { loss: tf.add(tf.mul(this.left.value, a), tf.mul(this.right.value, b)) };
  }
}

function pair() {
  const model = new Pair();
  const optimizers = [model.left, model.right].map((parameter) => new SGD([parameter], { lr: 1 }));
  const step = async (window: GradientWindow, a: number, b: number) => {
    tf.dispose(window.add(model, () => model.forward(a, b)).loss);
    const results = [];
    for (const optimizer of optimizers) results.push((await window.close(optimizer, {})).stepped);
    return results;
  };
  const values = () => [model.left, model.right].map(({ value }) => value.dataSync()[0]);
  return { model, step, values };
}

it('two optimizers of one window are unscaled alike, though the scale grows at the first step', async () => {
  const { step, values } = pair();
  const scaler = new DynamicLossScaler({ initialScale: 8, growthInterval: 1 });
  const window = new GradientWindow(scaler);
  expect(await step(window, 1, 3)).toEqual([true, true]);
  expect(values()).toEqual([-1, -3]);
  expect(scaler.scale).toBe(16);
  await step(window, 1, 3);
  expect(values()).toEqual([-2, -6]);
});

it('an overflow backs the scale off once per window, whichever optimizer finds it, and the other one steps', async () => {
  for (const [a, b, stepped] of [
    [Infinity, 1, [false, true]],
    [1, Infinity, [true, false]],
    [Infinity, Infinity, [false, false]],
  ] as const) {
    const { step, values } = pair();
    const scaler = new DynamicLossScaler({ initialScale: 8 });
    expect(await step(new GradientWindow(scaler), a, b)).toEqual(stepped);
    expect(values()).toEqual(stepped.map((taken) => (taken ? -1 : 0)));
    expect([scaler.scale, scaler.goodSteps]).toEqual([4, 0]);
  }
});

it('a stored window is unscaled by the scale that its gradients carry', async () => {
  const { model, values } = pair();
  const before = new GradientWindow(new FixedScaler(32));
  tf.dispose(before.add(model, () => model.forward(2, 4)).loss);
  const after = new GradientWindow(new FixedScaler(1));
  after.addModule(model);
  after.loadStateDict(stored(before.stateDict()));
  await after.close(new SGD(model.parameters(), { lr: 1 }), {});
  expect(values()).toEqual([-2, -4]);
});
