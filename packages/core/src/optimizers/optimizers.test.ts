import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { RowSparse } from '../autograd/row-sparse.ts';
import { TensorloomError } from '../errors.ts';
import { HostTensor } from '../host-tensor.ts';
import { Parameter } from '../modules/parameter.ts';
import { embeddingLookup } from '../ops/embedding-lookup.ts';
import { expectClose } from '../ops/reference.testing.ts';
import type { StateDict, StoredState } from '../stateful.ts';
import { tf, type Tensor } from '../tensors.ts';
import { Adam, AdamW } from './adam.ts';
import type { Optimizer } from './optimizer.ts';
import { SGD } from './sgd.ts';

interface Fixture {
  shapes: [[number, number], [number]];
  initial: [number[], number[]];
  gradients: [number[], number[]][];
  after: Record<string, [number[], number[]]>;
}
/** Made with PyTorch by fixtures/make_optimizer_steps.py. */
const fixture = JSON.parse(readFileSync(new URL('fixtures/optimizer-steps.json', import.meta.url), 'utf8')) as Fixture;

const cases: Record<string, (parameters: Parameter[]) => Optimizer> = {
  adam: (p) => new Adam(p, { lr: 0.01 }),
  'adam-decay': (p) => new Adam(p, { lr: 0.01, betas: [0.8, 0.95], epsilon: 1e-3, weightDecay: 0.1 }),
  adamw: (p) => new AdamW(p, { lr: 0.02, weightDecay: 0.1 }),
  sgd: (p) => new SGD(p, { lr: 0.1 }),
  'sgd-momentum': (p) => new SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 0.05 }),
  'sgd-dampening': (p) => new SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.3 }),
  'sgd-nesterov': (p) => new SGD(p, { lr: 0.1, momentum: 0.8, nesterov: true, weightDecay: 0.02 }),
};

const parametersOf = (): Parameter[] =>
  fixture.initial.map((data, i) => {
    const parameter = new Parameter(tf.tensor(data, fixture.shapes[i] as number[]));
    parameter.name = ['table', 'bias'][i] as string;
    return parameter;
  });

/** The same gradient, with rows that are zero left out. */
function rowSparse(gradient: readonly number[], [numRows, width]: [number, number]): RowSparse {
  const indices = Int32Array.from([...Array(numRows).keys()].filter((row) => gradient.slice(row * width, (row + 1) * width).some((v) => v !== 0)));
  const rows = [...indices].flatMap((row) => gradient.slice(row * width, (row + 1) * width));
  return new RowSparse(indices, tf.tensor2d(rows, [indices.length, width]), numRows);
}

function runStep(optimizer: Optimizer, step: number, sparse: boolean): void {
  const [table, bias] = optimizer.parameters as [Parameter, Parameter];
  const [tableGradient, biasGradient] = fixture.gradients[step] as [number[], number[]];
  table.grad = sparse ? rowSparse(tableGradient, fixture.shapes[0]) : tf.tensor(tableGradient, fixture.shapes[0]);
  bias.grad = tf.tensor1d(biasGradient);
  optimizer.step();
  optimizer.zeroGrad();
}

/** A snapshot as a checkpoint would give it back. */
function stored({ tensors, values }: StateDict): StoredState {
  const copies = Object.entries(tensors).map(([name, tensor]) => {
    const data = tensor.dataSync<'float32' | 'int32'>().slice() as Float32Array | Int32Array;
    return [name, { shape: tensor.shape, read: () => new HostTensor(data, tensor.shape) }] as const;
  });
  return { tensors: new Map(copies), values: structuredClone(values) };
}

const valuesOf = (optimizer: Optimizer): number[][] => optimizer.parameters.map((p) => [...p.value.dataSync()]);

function disposeAll(optimizer: Optimizer): void {
  for (const parameter of optimizer.parameters) parameter.dispose();
  optimizer.dispose();
}

describe.each(testBackends())('optimizers on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  describe.each(Object.keys(cases))('%s', (name) => {
    const create = cases[name] as (parameters: Parameter[]) => Optimizer;

    it.each([
      ['dense', false],
      ['row-sparse', true],
    ])("takes PyTorch's steps with %s gradients, leaving no tensors behind", (_kind, sparse) => {
      const before = tf.memory().numTensors;
      const optimizer = create(parametersOf());
      const counts = new Set<number>();
      for (const step of fixture.gradients.keys()) {
        runStep(optimizer, step, sparse);
        counts.add(tf.memory().numTensors);
      }
      expect(counts.size).toBe(1);
      expect(optimizer.parameters[0]?.onHost).toBe(sparse);
      for (const [i, values] of valuesOf(optimizer).entries()) expectClose(values, fixture.after[name]?.[i] as number[], 2e-6);
      disposeAll(optimizer);
      expect(tf.memory().numTensors).toBe(before);
    });

    it.each([false, true])('goes on from its state dict to the last bit (row-sparse: %s)', (sparse) => {
      const straight = create(parametersOf());
      for (const step of fixture.gradients.keys()) runStep(straight, step, sparse);

      const first = create(parametersOf());
      for (const step of [0, 1]) runStep(first, step, sparse);
      const state = stored(first.stateDict());
      const second = create(first.parameters.map((p) => Object.assign(new Parameter(tf.tensor([...p.value.dataSync()], [...p.shape])), { name: p.name })));
      second.loadStateDict(state);
      for (const step of [2, 3, 4]) runStep(second, step, sparse);
      expect(valuesOf(second)).toEqual(valuesOf(straight));
      for (const optimizer of [straight, first, second]) disposeAll(optimizer);
    });
  });

  it('keeps moments of the rows that had a gradient only', () => {
    const optimizer = cases['adam']!(parametersOf());
    runStep(optimizer, 0, true);
    const { tensors, values } = optimizer.stateDict();
    expect([...(tensors['table.rows'] as Tensor).dataSync()]).toEqual([0, 2, 4]);
    expect(tensors['table.exp_avg']?.shape).toEqual([3, 3]);
    expect(tensors['bias.exp_avg_sq']?.shape).toEqual([4]);
    expect(values['steps']).toEqual({ table: 1, bias: 1 });
    disposeAll(optimizer);
  });

  it('goes over to dense moments when a table gets a dense gradient, with the same result', () => {
    const optimizer = cases['adam']!(parametersOf());
    for (const step of fixture.gradients.keys()) runStep(optimizer, step, step < 2 || step === 3);
    expect(optimizer.parameters[0]?.onHost).toBe(false);
    for (const [i, values] of valuesOf(optimizer).entries()) expectClose(values, fixture.after['adam']?.[i] as number[], 2e-6);
    disposeAll(optimizer);
  });

  it('lets lookups see the rows that it updated, and a value that was read before', () => {
    const optimizer = new SGD([parametersOf()[0] as Parameter], { lr: 1 });
    const table = optimizer.parameters[0] as Parameter;
    table.value.dataSync();
    const lookup = (): number[] => tf.tidy(() => [...embeddingLookup(table, tf.tensor1d([2], 'int32')).dataSync()]);
    const [a, b, c] = lookup() as [number, number, number];
    table.grad = new RowSparse(Int32Array.of(2), tf.tensor2d([1, 2, 3], [1, 3]), 5);
    optimizer.step();
    const expected = [a - 1, b - 2, c - 3].map(Math.fround);
    expect(lookup()).toEqual(expected);
    expect([...table.value.dataSync()].slice(6, 9)).toEqual(expected);
    disposeAll(optimizer);
  });

  it('leaves frozen parameters and those without a gradient alone', () => {
    const optimizer = new AdamW(parametersOf(), { lr: 1, weightDecay: 0.5 });
    const before = valuesOf(optimizer);
    (optimizer.parameters[1] as Parameter).grad = tf.ones([4]);
    (optimizer.parameters[1] as Parameter).requiresGrad = false;
    optimizer.step();
    expect(valuesOf(optimizer)).toEqual(before);
    disposeAll(optimizer);
  });
});

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
    expectClose(valuesOf(optimizer)[1] as number[], (before[1] as number[]).map((w) => w / 2), 1e-7);
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
    expect(() => new Adam([table, { parameters: [bias] }] as Parameter[])).toThrow(/mixture/);
    for (const p of [table, bias]) p.dispose();
  });

  it('refuse a state that does not fit, naming all of it, and change nothing', () => {
    const optimizer = cases['adam']!(parametersOf());
    runStep(optimizer, 0, false);
    const state = stored(optimizer.stateDict());
    const broken = new Map(state.tensors);
    broken.delete('bias.exp_avg');
    broken.set('other.exp_avg', { shape: [1], read: () => new HostTensor(new Float32Array(1), [1]) });
    broken.set('table.exp_avg_sq', { shape: [2, 2], read: () => new HostTensor(new Float32Array(4), [2, 2]) });
    let message = '';
    try {
      optimizer.loadStateDict({ tensors: broken, values: state.values });
    } catch (error) {
      expect((error as TensorloomError).code).toBe('BAD_CHECKPOINT');
      message = (error as Error).message;
    }
    for (const part of ['missing: bias.exp_avg', 'unexpected: other.exp_avg', 'shape of table.exp_avg_sq: stored [2, 2], expected [5, 3]']) expect(message).toContain(part);
    expect(stored(optimizer.stateDict()).values).toEqual(state.values);
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
      runStep(optimizer, 0, false);
      expect(new Set(valuesOf(optimizer).flat())).toEqual(new Set([7]));
      expect(calls[0]).toEqual({ lr: 0.5, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.25, decoupled: true, step: 1 });
      disposeAll(optimizer);
    } finally {
      tf.unregisterKernel('AdamStep', 'cpu');
    }
  });
});
