import { beforeAll, describe, expect, it } from 'vitest';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { accumulateGradient } from './accumulate.ts';
import { accumulatingOp, type Wanted } from './accumulating-op.ts';
import { backward } from './backward.ts';
import { useBackend } from './backends.testing.ts';

beforeAll(() => useBackend('cpu'));

const wantedSeen: Wanted<'x'>[] = [];

/** `x * scale + shift`, which adds gradients into its parameters itself. */
function affine(x: Tensor, scale: Parameter, shift: Parameter): Tensor {
  return accumulatingOp({
    inputs: { x },
    parameters: [scale, shift],
    forward(save) {
      save([x]);
      return tf.add(tf.mul(x, scale.value), shift.value);
    },
    backward(dy, [saved], wanted) {
      wantedSeen.push(wanted);
      if (wanted.parameters.has(scale)) accumulateGradient(scale, tf.sum(tf.mul(dy, saved as Tensor), 0));
      if (wanted.parameters.has(shift)) accumulateGradient(shift, tf.sum(dy, 0));
      return wanted.inputs.has('x') ? { x: tf.mul(dy, scale.value) } : {};
    },
  });
}

const composite = (x: Tensor, scale: Parameter, shift: Parameter): Tensor =>
  tf.add(tf.mul(x, scale.value), shift.value);

const parameters = (): [Parameter, Parameter, Parameter, Parameter] =>
  [1, 2, 3, 4].map((n) => new Parameter(tf.tensor1d([n, -n, n / 2]))) as [Parameter, Parameter, Parameter, Parameter];
const gradients = (all: readonly Parameter[]): (number[] | null)[] =>
  all.map(({ grad }) => (grad === null ? null : [...(grad as Tensor).dataSync()]));

describe('an operation that adds gradients into its parameters itself', () => {
  const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);

  it('gives the gradients of the same computation op by op, over several micro-batches', () => {
    const run = (op: typeof affine): (number[] | null)[] => {
      const all = parameters();
      for (let i = 0; i < 3; i++)
        backward(() => op(tf.sin(op(x, all[0], all[1])), all[2], all[3]).sum() as Scalar, {
          parameters: all,
        }).dispose();
      const result = gradients(all);
      for (const p of all) p.dispose();
      return result;
    };
    expect(run(affine)).toEqual(run(composite));
  });

  it('makes its parameters ready when its backward has run, the last operation first', () => {
    const all = parameters();
    const ready: number[] = [];
    backward(() => affine(affine(x, all[0], all[1]), all[2], all[3]).sum() as Scalar, {
      parameters: all,
      onParameterReady: (parameter) => {
        expect(parameter.grad).not.toBeNull();
        ready.push(all.indexOf(parameter));
      },
    }).dispose();
    expect(ready).toEqual([2, 3, 0, 1]);
    for (const p of all) p.dispose();
  });

  it('is asked for no gradient of what is frozen, takes no part, or leads to no parameter', () => {
    const all = parameters();
    all[3].requiresGrad = false;
    wantedSeen.length = 0;
    backward(() => affine(affine(x, all[0], all[1]), all[2], all[3]).sum() as Scalar, {
      parameters: [all[0], all[2], all[3]],
    }).dispose();
    expect(gradients(all).map((gradient) => gradient !== null)).toEqual([true, false, true, false]);
    expect(wantedSeen).toEqual([
      { inputs: new Set(['x']), parameters: new Set([all[2]]) },
      { inputs: new Set(), parameters: new Set([all[0]]) },
    ]);
    for (const p of all) p.dispose();
  });

  it('leaves no tensor behind, with a tape and without', () => {
    const all = parameters();
    backward(() => affine(x, all[0], all[1]).sum() as Scalar, { parameters: all }).dispose();
    const before = tf.memory().numTensors;
    backward(() => affine(x, all[0], all[1]).sum() as Scalar, { parameters: all }).dispose();
    affine(x, all[0], all[1]).dispose();
    expect(tf.memory().numTensors).toBe(before);
    for (const p of all) p.dispose();
  });
});
