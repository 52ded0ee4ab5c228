import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
import { Parameter } from '../modules/parameter.ts';
import { expectClose } from '../ops/reference.testing.ts';
import { tf } from '../tensors.ts';
import { LearningRateSchedule, schedules, type ScheduleOptions } from './schedules.ts';
import { SGD } from './sgd.ts';

const create = (name: string, options: ScheduleOptions = {}): [SGD, LearningRateSchedule] => {
  const optimizer = new SGD([
    { parameters: [new Parameter(tf.zeros([1]))], lr: 2 },
    { parameters: [new Parameter(tf.zeros([1]))], lr: 4 },
  ]);
  return [optimizer, new LearningRateSchedule(optimizer, name, options)];
};

const rates = (name: string, options: ScheduleOptions, steps: number): number[] => {
  const [optimizer, schedule] = create(name, options);
  return Array.from({ length: steps }, () => {
    const { lr } = optimizer;
    expect(optimizer.groups[1]?.lr).toBe(lr * 2);
    schedule.step();
    return lr;
  });
};

describe('learning rate schedules', () => {
  beforeAll(() => useBackend('cpu'));

  it('constant: rises over the warm-up, then stays', () =>
    expectClose(rates('constant', { warmupSteps: 4 }, 6), [0, 0.5, 1, 1.5, 2, 2], 1e-12));
  it('constant without options is the base rate', () => expect(rates('constant', {}, 2)).toEqual([2, 2]));
  it('linear: rises, then falls to zero', () =>
    expectClose(rates('linear', { warmupSteps: 2, totalSteps: 6 }, 8), [0, 1, 2, 1.5, 1, 0.5, 0, 0], 1e-12));
  it('cosine: rises, then falls along half a wave', () =>
    expectClose(
      rates('cosine', { warmupSteps: 2, totalSteps: 6 }, 7),
      [0, 1, 2, 1 + Math.SQRT1_2, 1, 1 - Math.SQRT1_2, 0],
      1e-12,
    ));
  it('take no warm-up at all', () => expectClose(rates('linear', { totalSteps: 4 }, 5), [2, 1.5, 1, 0.5, 0], 1e-12));

  it('go on from their state', () => {
    const [optimizer, schedule] = create('linear', { totalSteps: 10 });
    for (let i = 0; i < 3; i++) schedule.step();
    const [other, resumed] = create('linear', { totalSteps: 10 });
    resumed.loadStateDict({ tensors: new Map(), values: schedule.stateDict().values });
    expect(resumed.steps).toBe(3);
    expect(other.lr).toBe(optimizer.lr);
    schedule.step();
    resumed.step();
    expect(other.lr).toBe(optimizer.lr);
  });

  it('refuse what makes no sense', () => {
    expect(() => create('linear')).toThrow(/needs totalSteps/);
    expect(() => create('linaer', { totalSteps: 5 })).toThrow(/Did you mean 'linear'/);
    expect(() => create('constant', { warmupSteps: -1 })).toThrow(/warmupSteps is -1/);
    const [, schedule] = create('constant');
    expect(() => schedule.loadStateDict({ tensors: new Map(), values: { steps: 1, baseRates: [1] } })).toThrow(
      /2 parameter groups/,
    );
  });

  it('can be extended by name', () => {
    schedules.register('halving', () => (step) => 0.5 ** step);
    expect(rates('halving', {}, 3)).toEqual([2, 1, 0.5]);
  });
});
