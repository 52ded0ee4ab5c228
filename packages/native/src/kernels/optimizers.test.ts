import { Adam, AdamW, Parameter, RowSparse, SGD, tf, type Optimizer } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { NativeAccelerator } from '../accelerator.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { expectClose, values } from './compare.testing.ts';
import { cases, disposeAll, fixture, parametersOf, runStep, rowSparse, valuesOf } from './optimizer-steps.testing.ts';

describe.skipIf(!nativeIsBuilt)('optimizers on native', () => {
  beforeAll(activateNative);

  describe.each(Object.keys(cases))('%s', (name) => {
    const create = cases[name] as (parameters: Parameter[]) => Optimizer;

    it.each([
      ['dense', false],
      ['row-sparse', true],
    ])("takes PyTorch's steps with %s gradients, leaving no tensors behind", (_kind, sparse) => {
      const before = tf.memory().numTensors;
      const optimizer = create(parametersOf());
      for (const step of fixture.gradients.keys()) runStep(optimizer, step, sparse);
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

    it.each([false, true])('leaves clones of values and moments as they were (row-sparse: %s)', (sparse) => {
      const optimizer = create(parametersOf());
      runStep(optimizer, 0, sparse);
      const tensors = [
        ...optimizer.parameters.map(({ value }) => value),
        ...Object.values(optimizer.stateDict().tensors),
      ];
      const clones = tensors.map((tensor) => tf.clone(tensor));
      const before = clones.map((clone) => [...clone.dataSync()]);
      for (const step of [1, 2]) runStep(optimizer, step, sparse);
      expect(clones.map((clone) => [...clone.dataSync()])).toEqual(before);
      for (const step of [3, 4]) runStep(optimizer, step, sparse);
      for (const [i, values] of valuesOf(optimizer).entries())
        expectClose(values, fixture.after[name]?.[i] as number[], 2e-6);
      tf.dispose(clones);
      disposeAll(optimizer);
    });
  });

  it('changes values and moments where they lie', () => {
    const optimizer = cases['adam']!(parametersOf());
    runStep(optimizer, 0, false);
    const tensorsOf = (): tf.Tensor[] => [
      ...optimizer.parameters.map(({ value }) => value),
      ...Object.values(optimizer.stateDict().tensors),
    ];
    const before = tensorsOf();
    runStep(optimizer, 1, false);
    expect(tensorsOf()).toEqual(before);
    disposeAll(optimizer);
  });

  it("counts the moments of a table's rows as an optimizer's state, which lies in the engine", () => {
    const width = 2 ** 18;
    const bytes = (): number => new NativeAccelerator().memory().byKind!.optimizerState.currentBytes;
    const before = bytes();
    const optimizer = new Adam([new Parameter(tf.fill([8, width], 1))], { lr: 0.01 });
    const [table] = optimizer.parameters as [Parameter];
    const step = (...rows: number[]): number => {
      table.grad = new RowSparse(Int32Array.from(rows), tf.fill([rows.length, width], 1), 8);
      optimizer.step();
      optimizer.zeroGrad();
      return (bytes() - before) / (4 * width);
    };
    // Two moments a row; with more rows the arrays grow, and the old ones are given back at once.
    expect([step(1), step(2, 3, 4), step(1, 4)]).toEqual([2, 8, 8]);
    optimizer.dispose();
    expect(bytes()).toBe(before);
    table.dispose();
  });

  it('moves a table of any size as the composite on cpu does, with dense and row-sparse gradients', async () => {
    const optimizers: ((parameters: Parameter[]) => Optimizer)[] = [
      (p) => new Adam(p, { lr: 0.01, epsilon: 1e-3, weightDecay: 0.1 }),
      (p) => new AdamW(p, { lr: 0.01, epsilon: 1e-3, weightDecay: 0.1 }),
      (p) => new SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true }),
    ];
    const shapes = fc.tuple(fc.constantFrom(1, 7, 33), fc.constantFrom(1, 7, 33, 1023));
    await fc.assert(
      fc.asyncProperty(
        shapes,
        fc.constantFrom(...optimizers),
        fc.boolean(),
        fc.integer(),
        async (shape, create, sparse, seed) => {
          const [native, cpu] = [
            await moved('native', shape, create, sparse, seed),
            await moved('cpu', shape, create, sparse, seed),
          ];
          expectClose(native, cpu, 2e-6);
        },
      ),
      { numRuns: 30 },
    );
    await tf.setBackend('native');
  });
});

/** A table after three steps on a backend. */
async function moved(
  backend: string,
  shape: [number, number],
  create: (parameters: Parameter[]) => Optimizer,
  sparse: boolean,
  seed: number,
): Promise<number[]> {
  await tf.setBackend(backend);
  const size = shape[0] * shape[1];
  const optimizer = create([new Parameter(tf.tensor2d(values(size, seed), shape))]);
  const [table] = optimizer.parameters as [Parameter];
  for (const step of [1, 2, 3]) {
    const gradient = Array.from({ length: size }, (_, i) =>
      Math.floor(i / shape[1]) % (step + 1) === 0 ? Math.sin(i * step + seed) : 0,
    );
    table.grad = sparse ? rowSparse(gradient, shape) : tf.tensor(gradient, shape);
    optimizer.step();
    optimizer.zeroGrad();
  }
  const after = [...table.value.dataSync()];
  disposeAll(optimizer);
  return after;
}
