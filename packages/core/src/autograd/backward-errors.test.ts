import { beforeAll, describe, expect, it } from 'vitest';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { backward } from './backward.ts';
import { testBackends, useBackend } from './backends.testing.ts';

const dense = (parameter: Parameter): Tensor => parameter.grad as Tensor;
const parameterOf = (values: number[]): Parameter => new Parameter(tf.tensor1d(values));
const sumOfSquares = (p: Parameter): Scalar => p.value.square().sum();

describe.each(testBackends())('backward on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  describe('refuses', () => {
    let p: Parameter;
    const leavesNothing = (fn: () => void, message: RegExp): void => {
      p = parameterOf([1, 2]);
      const before = tf.memory().numTensors;
      expect(fn).toThrow(message);
      expect(tf.memory().numTensors).toBe(before);
      backward(() => sumOfSquares(p), { parameters: [p] }).dispose();
      expect([...dense(p).dataSync()]).toEqual([2, 4]);
      p.dispose();
    };

    it('a loss that is not a scalar, naming its shape', () =>
      leavesNothing(() => backward(() => p.value.square() as Scalar, { parameters: [p] }), /shape \[2\]/));
    it('a closure without a loss', () =>
      leavesNothing(
        () => backward(() => ({ loss: undefined as unknown as Scalar }), { parameters: [p] }),
        /must return a scalar loss/,
      ));
    it('a loss that depends on no parameter', () =>
      leavesNothing(() => backward(() => tf.scalar(3).square(), { parameters: [p] }), /depends on none of the 1/));
    it('an operation that has no gradient, by its name', () =>
      leavesNothing(
        () => backward(() => tf.cumprod(p.value).sum() as Scalar, { parameters: [p] }),
        /operation Cumprod has no gradient/,
      ));
    it('an asynchronous closure', () =>
      leavesNothing(
        () => backward((() => Promise.resolve()) as unknown as () => Scalar, { parameters: [p] }),
        /must be synchronous/,
      ));
    it('use inside tf.grad', () => {
      const x = tf.scalar(1);
      leavesNothing(() => tf.grad(() => backward(() => sumOfSquares(p), { parameters: [p] }))(x), /while another tape/);
      x.dispose();
    });
    it('use inside another backward', () =>
      leavesNothing(
        () => backward(() => backward(() => sumOfSquares(p), { parameters: [p] }), { parameters: [p] }),
        /while another tape/,
      ));
    it('nothing, but passes on an exception in the closure', () =>
      leavesNothing(
        () =>
          backward(
            () => {
              tf.exp(p.value);
              throw new Error('in the closure');
            },
            { parameters: [p] },
          ),
        /in the closure/,
      ));
    it('nothing, but passes on an exception in an operation that had saved tensors', () =>
      leavesNothing(
        () =>
          backward(
            () =>
              tf.customGrad((x, save) => {
                (save as tf.GradSaveFunc)([x as Tensor]);
                throw new Error('in the operation');
              })(p.value) as Scalar,
            { parameters: [p] },
          ),
        /in the operation/,
      ));
    it('nothing, but passes on an exception in a gradient', () =>
      leavesNothing(
        () =>
          backward(
            () =>
              tf
                .customGrad((x, save) => {
                  (save as tf.GradSaveFunc)([x as Tensor]);
                  return {
                    value: (x as Tensor).square(),
                    gradFunc: () => {
                      throw new Error('in the gradient');
                    },
                  };
                })(p.value.exp())
                .sum() as Scalar,
            { parameters: [p] },
          ),
        /in the gradient/,
      ));
  });
});
