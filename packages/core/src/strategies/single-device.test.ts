import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
import { Module } from '../modules/module.ts';
import { Parameter } from '../modules/parameter.ts';
import { SGD } from '../optimizers/sgd.ts';
import type { StoredState } from '../stateful.ts';
import { tf, type Scalar } from '../tensors.ts';
import { SingleDeviceStrategy } from './single-device.ts';
import { strategies, type StrategyContext } from './strategy.ts';

class Line extends Module {
  readonly slope = new Parameter(tf.scalar(0));
  forward(target: number): Scalar {
    return tf.squaredDifference(this.slope.value, target);
  }
}

const autocasts: unknown[] = [];
const context = (worldSize = 1): StrategyContext =>
  ({
    accelerator: 'the accelerator',
    processGroup: { worldSize },
    precision: {
      lossScaler: { scale: 4, update: (finite: boolean) => finite },
      autocast: <T>(accelerator: unknown, fn: () => T): T => {
        autocasts.push(accelerator);
        return fn();
      },
    },
  }) as unknown as StrategyContext;

function create(accumulate?: number): {
  strategy: SingleDeviceStrategy;
  model: Line;
  optimizer: SGD;
  micro: (target: number, endOfEpoch?: boolean) => void;
} {
  const strategy = new SingleDeviceStrategy(accumulate === undefined ? 'single' : 'accumulate', accumulate);
  strategy.setup(context());
  const model = new Line();
  void strategy.setupModule(model);
  const optimizer = new SGD(model.parameters(), { lr: 0.25 });
  const micro = (target: number, endOfEpoch = false): void =>
    strategy.backward(model, () => model.forward(target), { endOfEpoch }).dispose();
  return { strategy, model, optimizer, micro };
}

const open = { closed: false, stepped: false };

describe('the strategy for a single device', () => {
  beforeAll(() => useBackend('cpu'));

  it('is registered and refuses options', () => {
    expect(strategies.get('single').create({}).name).toBe('single');
    expect(() => strategies.get('single').create({ accumulate: 2 })).toThrow(/no option 'accumulate'/);
  });

  it('steps after each micro-batch, under the precision', async () => {
    const { strategy, model, optimizer, micro } = create();
    expect(strategy.windowWillClose).toBe(false);
    micro(1);
    expect(autocasts).toEqual(['the accelerator']);
    expect(strategy.windowWillClose).toBe(true);
    expect(await strategy.step(optimizer, {})).toEqual({ closed: true, stepped: true, gradientNorm: 2 });
    expect(model.slope.value.dataSync()[0]).toBe(0.5);
    expect(await strategy.step(optimizer, {})).toEqual(open);
  });

  it('steps by a full window, by an incomplete one at the end of an epoch, and by any when flushed', async () => {
    const { strategy, model, optimizer, micro } = create(3);
    const slope = (): number => model.slope.value.dataSync()[0] as number;
    micro(1);
    expect(await strategy.step(optimizer, {})).toEqual(open);
    micro(2);
    expect(await strategy.step(optimizer, {})).toEqual(open);
    await expect(strategy.clipGradients(optimizer, { clipNorm: 1 })).rejects.toThrow(/open window \(2 of 3/);
    micro(3);
    expect((await strategy.step(optimizer, {})).stepped).toBe(true);
    expect(slope()).toBe(1);
    micro(3);
    await strategy.step(optimizer, {});
    micro(5, true);
    expect(strategy.windowWillClose).toBe(true);
    expect((await strategy.step(optimizer, {})).stepped).toBe(true);
    expect(slope()).toBe(2.5);
    micro(4.5);
    expect((await strategy.step(optimizer, { flush: true })).stepped).toBe(true);
    expect(slope()).toBe(3.5);
    expect(await strategy.step(optimizer, { flush: true })).toEqual(open);
  });

  it('clips a complete window ahead of the step', async () => {
    const { strategy, model, optimizer, micro } = create();
    micro(1);
    expect(await strategy.clipGradients(optimizer, { clipValue: 1 })).toBe(2);
    await strategy.step(optimizer, {});
    expect(model.slope.value.dataSync()[0]).toBe(0.25);
  });

  it('goes on in the middle of a window, but only with the same window size', () => {
    const { strategy, micro } = create(3);
    micro(1);
    const { tensors, values } = strategy.stateDict();
    expect(Object.keys(tensors)).toEqual(['0.slope']);
    const state = { tensors: new Map(), values } as StoredState;
    expect(() => create(4).strategy.loadStateDict(state)).toThrow(
      /open window of 3 micro-batches, but accumulate is 4/,
    );
    const resumed = create(3);
    resumed.strategy.loadStateDict(state);
    resumed.micro(1);
    expect(resumed.strategy.windowWillClose).toBe(false);
    resumed.micro(1);
    expect(resumed.strategy.windowWillClose).toBe(true);
  });

  it('refuses several ranks, a window of no micro-batches, and use before launch', () => {
    expect(() => new SingleDeviceStrategy().setup(context(2))).toThrow(/runs on one device, but there are 2 ranks/);
    expect(() => new SingleDeviceStrategy('accumulate', 0)).toThrow(/accumulate is 0/);
    expect(() => new SingleDeviceStrategy().windowWillClose).toThrow(/launch Fabric first/);
  });
});
