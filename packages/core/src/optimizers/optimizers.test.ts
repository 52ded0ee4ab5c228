import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { RowSparse } from '../autograd/row-sparse.ts';
import { Parameter } from '../modules/parameter.ts';
import { stored } from '../modules/stored.testing.ts';
import { embeddingLookup } from '../ops/embedding-lookup.ts';
import { expectClose } from '../ops/reference.testing.ts';
import { tf, type Tensor } from '../tensors.ts';
import { AdamW } from './adam.ts';
import type { Optimizer } from './optimizer.ts';
import { cases, disposeAll, fixture, parametersOf, runStep, valuesOf } from './optimizers.testing.ts';
import { SGD } from './sgd.ts';

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
      for (const [i, values] of valuesOf(optimizer).entries())
        expectClose(values, fixture.after[name]?.[i] as number[], 2e-6);
      disposeAll(optimizer);
      expect(tf.memory().numTensors).toBe(before);
    });

    it.each([false, true])('multiplies gradients on its way if asked to (row-sparse: %s)', (sparse) => {
      const [before, during] = [create(parametersOf()), create(parametersOf())];
      for (const step of fixture.gradients.keys()) {
        runStep(before, step, sparse, 0.25);
        runStep(during, step, sparse, 1, 0.25);
      }
      expect(valuesOf(during)).toEqual(valuesOf(before));
      for (const optimizer of [before, during]) disposeAll(optimizer);
    });

    it.each([false, true])('goes on from its state dict to the last bit (row-sparse: %s)', (sparse) => {
      const straight = create(parametersOf());
      for (const step of fixture.gradients.keys()) runStep(straight, step, sparse);

      const first = create(parametersOf());
      for (const step of [0, 1]) runStep(first, step, sparse);
      const state = stored(first.stateDict());
      const second = create(
        first.parameters.map((p) =>
          Object.assign(new Parameter(tf.tensor([...p.value.dataSync()], [...p.shape])), { name: p.name }),
        ),
      );
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
    for (const [i, values] of valuesOf(optimizer).entries())
      expectClose(values, fixture.after['adam']?.[i] as number[], 2e-6);
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
