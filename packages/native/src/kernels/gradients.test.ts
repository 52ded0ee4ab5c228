import {
  accumulateGradient,
  Adam,
  clipGradients,
  gradientNorm,
  Parameter,
  RowSparse,
  scaleGradients,
  tf,
} from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { NativeAccelerator } from '../accelerator.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { expectClose, onBackend, values } from './compare.testing.ts';
import { disposeAll, fixture, parametersOf } from './optimizer-steps.testing.ts';

/** A parameter with this gradient. */
function withGradient(gradient: tf.Tensor): Parameter {
  const parameter = new Parameter(tf.zeros(gradient.shape));
  parameter.grad = gradient;
  return parameter;
}

const gradientOf = ({ grad }: Parameter): number[] => [...(grad instanceof RowSparse ? grad.rows : grad!).dataSync()];

describe.skipIf(!nativeIsBuilt)('gradients on native', () => {
  beforeAll(activateNative);

  it('are added where the first one lies', () => {
    const parameter = withGradient(tf.tensor1d([1, 2, 3]));
    const first = parameter.grad;
    const before = tf.memory().numTensors;
    accumulateGradient(parameter, tf.tensor1d([10, 20, 30]));
    expect(parameter.grad).toBe(first);
    expect(gradientOf(parameter)).toEqual([11, 22, 33]);
    expect(tf.memory().numTensors).toBe(before);
    parameter.dispose();
  });

  it('are added elsewhere if the first one shares its data, which then stay as they were', () => {
    const parameter = withGradient(tf.tensor1d([1, 2, 3]));
    const clone = tf.reshape(parameter.grad as tf.Tensor, [3, 1]);
    accumulateGradient(parameter, tf.tensor1d([10, 20, 30]));
    scaleGradients([parameter], 2);
    expect(gradientOf(parameter)).toEqual([22, 44, 66]);
    expect([...clone.dataSync()]).toEqual([1, 2, 3]);
    tf.dispose(clone);
    parameter.dispose();
  });

  it('are added to themselves if a gradient function handed the same data back twice', () => {
    const gradient = tf.tensor1d([1, 2, 3]);
    const parameter = withGradient(gradient);
    accumulateGradient(parameter, tf.clone(gradient));
    expect(gradientOf(parameter)).toEqual([2, 4, 6]);
    parameter.dispose();
  });

  it('are added to the sum that the composite gives, whatever their size', () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 7, 33, 1023, 40_001), fc.integer(), (size, seed) => {
        const sum = (backend: 'cpu' | 'native'): number[] =>
          onBackend(backend, () => {
            const parameter = withGradient(tf.tensor1d(values(size, seed)));
            for (const i of [1, 2]) accumulateGradient(parameter, tf.tensor1d(values(size, seed + i)));
            const result = gradientOf(parameter);
            parameter.dispose();
            return result;
          });
        expect(sum('native')).toEqual(sum('cpu'));
      }),
      { numRuns: 10 },
    );
  });

  it('of rows are added as the composite does', () => {
    const gradient = (rows: number[], from: number): RowSparse =>
      new RowSparse(Int32Array.from(rows), tf.tensor2d(values(rows.length * 3, from), [rows.length, 3]), 9);
    const sum = (backend: 'cpu' | 'native'): unknown =>
      onBackend(backend, () => {
        const parameter = new Parameter(tf.zeros([9, 3]));
        for (const [i, rows] of [
          [1, 4],
          [4, 7, 8],
          [1, 8],
          [0, 1, 4, 7, 8],
        ].entries())
          accumulateGradient(parameter, gradient(rows, i));
        const result = [[...(parameter.grad as RowSparse).indices], gradientOf(parameter)];
        parameter.dispose();
        return result;
      });
    expect(sum('native')).toEqual(sum('cpu'));
  });

  it.each(fixture.clipped)(
    "are clipped as by PyTorch's clip_grad_norm_ for $maxNorm, norm $normType, where they lie",
    ({ maxNorm, normType, norm, gradients }) => {
      const parameters = parametersOf();
      for (const [i, parameter] of parameters.entries())
        parameter.grad = tf.tensor(fixture.gradients[0]?.[i] as number[], [...parameter.shape]);
      const before = parameters.map(({ grad }) => grad);
      const p = normType === 'inf' ? Infinity : Number(normType);
      expectClose([clipGradients(parameters, { maxNorm, normType: p })], [norm], 1e-6);
      for (const [i, parameter] of parameters.entries())
        expectClose(gradientOf(parameter), gradients[i] as number[], 1e-6);
      expect(parameters.map(({ grad }) => grad)).toEqual(before);
      for (const parameter of parameters) parameter.dispose();
    },
  );

  it.each([1, 2, 3, Infinity])('have a %d-norm that is finite exactly if all elements are', (p) => {
    for (const [wrong, expected] of [
      [NaN, NaN],
      [-Infinity, Infinity],
    ]) {
      const parameters = [values(40_001, 1), values(7, 2)].map((array) => withGradient(tf.tensor1d(array)));
      expect(gradientNorm(parameters, p)).toBeLessThan(1e6);
      const array = values(20_001, 3);
      array[20_000] = wrong as number;
      const last = withGradient(tf.tensor1d(array));
      expect(gradientNorm([...parameters, last], p)).toBe(expected);
      for (const parameter of [...parameters, last]) parameter.dispose();
    }
  });

  it('have a norm also where squares are beyond float32', () => {
    const parameter = withGradient(tf.tensor1d([3e30, 4e30]));
    expect(gradientNorm([parameter])).toBe(Math.fround(5e30));
    parameter.dispose();
  });

  it('are counted as such, and so are parameters and moments', () => {
    const kinds = ['parameter', 'gradient', 'optimizerState'] as const;
    const bytes = (): number[] => kinds.map((kind) => new NativeAccelerator().memory().byKind![kind].currentBytes);
    const before = bytes();
    const parameter = new Parameter(tf.ones([100]));
    const optimizer = new Adam([parameter]);
    for (const _ of [1, 2]) accumulateGradient(parameter, tf.ones([100]));
    optimizer.step();
    const grown = bytes().map((now, kind) => now - (before[kind] as number));
    expect(grown).toEqual([400, 400, 800]);
    disposeAll(optimizer);
    expect(bytes()).toEqual(before);
  });
});
