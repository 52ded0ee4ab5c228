/** For tests of fused operations: the engine's kernels against core's composite on tfjs's CPU backend, forward and gradient. */
import { backward, Parameter, tf, type Scalar, type Tensor } from '@tensorloom/core';
import { expect } from 'vitest';
import { addon } from '../addon.ts';
import { nativeBackend } from '../backend.ts';
import { expectClose, onBackend, values } from './compare.testing.ts';

export interface Operand {
  readonly shape: readonly number[];
  /** `values` of a seed of its own if absent. */
  readonly data?: ArrayLike<number>;
}

/** The output, then the gradients of the operands of a weighted sum of it. No tensors are left behind. */
export function outputAndGradients(
  operands: readonly Operand[],
  op: (operands: Tensor[]) => Tensor,
  inspect: (output: Tensor) => void = () => undefined,
): Float32Array[] {
  const parameters = operands.map(
    ({ shape, data }, seed) =>
      new Parameter(
        tf.tensor(Float32Array.from(data ?? values(tf.util.sizeFromShape([...shape]), seed + 1)), [...shape]),
      ),
  );
  const before = tf.memory().numTensors;
  const { y, loss } = backward(
    () => {
      const y = op(parameters.map((parameter) => parameter.value));
      return { y, loss: tf.sum(tf.mul(y, tf.tensor(values(y.size, 99), y.shape))) as Scalar };
    },
    { parameters },
  );
  inspect(y);
  const results = [y, ...parameters.map((parameter) => parameter.grad as Tensor)].map(
    (tensor) => tensor.dataSync() as Float32Array,
  );
  tf.dispose([y, loss]);
  for (const parameter of parameters) parameter.zeroGrad();
  expect(tf.memory().numTensors).toBe(before);
  for (const parameter of parameters) parameter.dispose();
  return results;
}

/** Checks values and gradients on `native` against the composite, with activations stored as `storage`. */
export function compareWithComposite(
  operands: readonly Operand[],
  op: (operands: Tensor[]) => Tensor,
  { tolerance = 1e-5, storage = 0 }: { readonly tolerance?: number; readonly storage?: number } = {},
): void {
  const expected = onBackend('cpu', () => outputAndGradients(operands, op));
  const actual = onBackend('native', () => {
    nativeBackend().activationStorage = storage;
    try {
      return outputAndGradients(operands, op, (y) => {
        expect(addon().storageOf(nativeBackend().handle(y))).toBe(storage);
      });
    } finally {
      nativeBackend().activationStorage = 0;
    }
  });
  for (const [i, values] of expected.entries()) expectClose(actual[i] as Float32Array, values, tolerance);
}
