/** For tests: naive formulas in double precision on flat arrays, and gradients by central differences. */
import { expect } from 'vitest';
import { backward } from '../autograd/backward.ts';
import { toDense } from '../autograd/accumulate.ts';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';

/** Reproducible values, about normally distributed. */
export function values(size: number, seed: number): number[] {
  let state = seed * 2654435761;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 5; i++) uniform();
  return Array.from({ length: size }, () => Math.fround((uniform() + uniform() + uniform() + uniform() - 2) * 1.7));
}

export function range(n: number): number[] {
  return [...Array(n).keys()];
}

export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(1, ...Array.from(expected, Math.abs));
  const worst = Math.max(0, ...Array.from(actual, (value, i) => Math.abs(value - (expected[i] as number))));
  expect(Array.from(actual).every(Number.isFinite)).toBe(true);
  expect(worst / scale).toBeLessThanOrEqual(tolerance);
}

export interface Operand {
  readonly shape: number[];
  readonly data: number[];
}

/**
 * Checks `op` against `naive` on the same operands: values, and gradients of sum(weights × output) against central
 * differences of `naive` in double precision. Also checks that no tensors are left behind.
 */
export function checkOp(
  operands: readonly Operand[],
  op: (tensors: Tensor[]) => Tensor,
  naive: (arrays: number[][]) => number[],
  tolerance = 1e-5,
  weight: (i: number) => number = (i) => Math.cos(i * 1.3 + 0.4),
): void {
  const arrays = operands.map((operand) => operand.data);
  const expected = naive(arrays);
  const weights = expected.map((_, i) => weight(i));
  const objective = (inputs: number[][]): number =>
    naive(inputs).reduce((sum, y, i) => sum + y * (weights[i] as number), 0);

  const parameters = operands.map(({ shape, data }) => new Parameter(tf.tensor(data, shape, 'float32')));
  const weightTensor = tf.tensor1d(weights);
  const before = tf.memory().numTensors;
  const { output } = backward(
    () => {
      const y = op(parameters.map((p) => p.value));
      return { loss: tf.sum(tf.mul(tf.reshape(y, [-1]), weightTensor)) as Scalar, output: y };
    },
    { parameters },
  );
  expectClose(output.dataSync(), expected, tolerance);
  for (const [k, parameter] of parameters.entries()) {
    const gradient = toDense(parameter.grad as Tensor).dataSync();
    const numeric = arrays[k]!.map((x, i) => {
      const step = 1e-4;
      const at = (value: number): number =>
        objective(arrays.map((array, j) => (j === k ? array.with(i, value) : array)));
      return (at(x + step) - at(x - step)) / (2 * step);
    });
    expectClose(gradient, numeric, tolerance * 10);
    parameter.zeroGrad();
  }
  // `backward` also returned its loss, which is the caller's.
  output.dispose();
  expect(tf.memory().numTensors).toBe(before + 1);
  for (const parameter of parameters) parameter.dispose();
  weightTensor.dispose();
}
