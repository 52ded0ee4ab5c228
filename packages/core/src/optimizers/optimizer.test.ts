import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
import type { TensorloomError } from '../errors.ts';
import { HostTensor } from '../host-tensor.ts';
import { storedInMemory } from '../stored-tensor.ts';
import type { Parameter } from '../modules/parameter.ts';
import { stored } from '../modules/stored.testing.ts';
import { expectClose } from '../ops/reference.testing.ts';
import { tf, type Tensor } from '../tensors.ts';
import { Adam, AdamW } from './adam.ts';
import { Optimizer, type DenseUpdate } from './optimizer.ts';
import { cases, disposeAll, parametersOf, runStep, valuesOf } from './optimizers.testing.ts';
import { SGD } from './sgd.ts';

describe('optimizers', () => {
  beforeAll(() => useBackend('cpu'));

  it('give each group its own hyper-parameters', () => {
    const [table, bias] = parametersOf() as [Parameter, Parameter];
    const optimizer = new SGD(
      [
        { parameters: [table], lr: 0 },
        { parameters: [bias], weightDecay: 1 },
      ],
      { lr: 0.5 },
    );
    expect(optimizer.groups.map(({ lr, weightDecay }) => [lr, weightDecay])).toEqual([
      [0, 0],
      [0.5, 1],
    ]);
    const before = valuesOf(optimizer);
    [table.grad, bias.grad] = [tf.ones([5, 3]), tf.zeros([4])];
    optimizer.step();
    expect(valuesOf(optimizer)[0]).toEqual(before[0]);
    expectClose(
      valuesOf(optimizer)[1] as number[],
      (before[1] as number[]).map((w) => w / 2),
      1e-7,
    );
    disposeAll(optimizer);
  });

  it('refuse hyper-parameters out of range, a parameter given twice, and no parameters', () => {
    const [table, bias] = parametersOf() as [Parameter, Parameter];
    expect(() => new Adam([table], { lr: -1 })).toThrow(/lr\) is -1/);
    expect(() => new Adam([table], { betas: [0.9, 1] })).toThrow(/betas\[1\] is 1/);
    expect(() => new SGD([{ parameters: [table], momentum: NaN }])).toThrow(/momentum is NaN/);
    expect(() => new SGD([table], { nesterov: true })).toThrow(/nesterov needs a momentum/);
    expect(() => new Adam([table, table])).toThrow(/twice/);
    expect(() => new Adam([])).toThrow(/at least one parameter/);
    expect(() => new Adam([table, { parameters: [bias] }] as unknown as Parameter[])).toThrow(/mixture/);
    for (const p of [table, bias]) p.dispose();
  });

  it('refuse a state that does not fit, naming all of it, and change nothing', () => {
    const optimizer = cases['adam']!(parametersOf());
    runStep(optimizer, 0, false);
    const state = stored(optimizer.stateDict());
    const broken = new Map(state.tensors);
    broken.delete('bias.exp_avg');
    broken.set('other.exp_avg', storedInMemory(new HostTensor(new Float32Array(1), [1])));
    broken.set('table.exp_avg_sq', storedInMemory(new HostTensor(new Float32Array(4), [2, 2])));
    let message = '';
    try {
      optimizer.loadStateDict({ tensors: broken, values: state.values });
    } catch (error) {
      expect((error as TensorloomError).code).toBe('BAD_CHECKPOINT');
      message = (error as Error).message;
    }
    for (const part of [
      'missing: bias.exp_avg',
      'unexpected: other.exp_avg',
      'shape of table.exp_avg_sq: stored [2, 2], expected [5, 3]',
    ])
      expect(message).toContain(part);
    expect(stored(optimizer.stateDict()).values).toEqual(state.values);
    disposeAll(optimizer);
  });

  it('take other parameters in the place of theirs, also none, before there is state', () => {
    const [table, bias] = parametersOf() as [Parameter, Parameter];
    const [shard] = parametersOf().slice(1) as [Parameter];
    const unused = parametersOf();
    const optimizer = new SGD(
      [
        { parameters: [table], lr: 1 },
        { parameters: [bias], lr: 0.5 },
      ],
      {},
    );
    shard.name = 'other';
    bias.name = 'layer.bias';
    expect(() => optimizer.replaceParameters(new Map([[table, bias]]))).toThrow(/same one/);
    expect(optimizer.parameters).toEqual([table, bias]);
    optimizer.replaceParameters(
      new Map([
        [table, null],
        [bias, shard],
        [unused[0] as Parameter, null],
      ]),
    );
    expect(optimizer.groups.map(({ parameters, lr }) => [parameters, lr])).toEqual([
      [[], 1],
      [[shard], 0.5],
    ]);
    expect(shard.name).toBe('layer.bias');
    shard.grad = tf.ones([4]);
    optimizer.step();
    expect(() => optimizer.replaceParameters(new Map([[shard, null]]))).toThrow(/has state/);
    for (const parameter of [table, bias, shard, ...unused]) parameter.dispose();
    optimizer.dispose();
  });

  it('refuse other parameters once there is state, and step with none', () => {
    const parameters = parametersOf();
    const optimizer = cases['adam']!(parameters);
    runStep(optimizer, 0, false);
    expect(() => optimizer.replaceParameters(new Map(parameters.map((p) => [p, null])))).toThrow(/has state/);
    optimizer.dispose();
    optimizer.replaceParameters(new Map(parameters.map((p) => [p, null])));
    expect(() => optimizer.step()).not.toThrow();
    expect(stored(optimizer.stateDict()).values['steps']).toEqual({});
    for (const parameter of parameters) parameter.dispose();
  });

  it('get scaled gradients where they do not scale them on their way', () => {
    class Plain extends Optimizer {
      protected readonly momentNames = [];
      protected override updateDense({ parameter, gradient, gradientScale }: DenseUpdate): void {
        expect(gradientScale).toBe(1);
        parameter.assign(tf.sub(parameter.value, gradient));
      }
      protected override updateRows(): void {
        throw new Error('There is no table here.');
      }
    }
    const [table, bias] = parametersOf() as [Parameter, Parameter];
    const optimizer = new Plain([{ parameters: [bias], lr: 1, weightDecay: 0 }]);
    const [before] = valuesOf(optimizer) as [number[]];
    bias.grad = tf.fill([4], 8);
    optimizer.step({ gradientScale: 0.25 });
    expect(valuesOf(optimizer)[0]).toEqual(before.map((value) => Math.fround(value - 2)));
    table.dispose();
    disposeAll(optimizer);
  });

  it("update in place through a backend's kernel AdamStep", () => {
    const calls: unknown[] = [];
    tf.registerKernel({
      kernelName: 'AdamStep',
      backendName: 'cpu',
      kernelFunc: ({ inputs, attrs }) => {
        calls.push(attrs);
        (inputs['value'] as Tensor).dataSync().fill(7);
        return [];
      },
    });
    try {
      const optimizer = new AdamW(parametersOf(), { lr: 0.5, weightDecay: 0.25 });
      runStep(optimizer, 0, false, 1, 0.5);
      expect(new Set(valuesOf(optimizer).flat())).toEqual(new Set([7]));
      expect(calls[0]).toEqual({
        lr: 0.5,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: 0.25,
        decoupled: true,
        step: 1,
        gradientScale: 0.5,
      });
      disposeAll(optimizer);
    } finally {
      tf.unregisterKernel('AdamStep', 'cpu');
    }
  });
});
