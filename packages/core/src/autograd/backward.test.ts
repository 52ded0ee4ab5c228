import { beforeAll, describe, expect, it } from 'vitest';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { backward } from './backward.ts';
import { testBackends, useBackend } from './backends.testing.ts';
import { RowSparse } from './row-sparse.ts';

function dense(parameter: Parameter): Tensor {
  if (parameter.grad === null || parameter.grad instanceof RowSparse) throw new Error('expected a dense gradient');
  return parameter.grad;
}

/** The same loss of the same values by both: what tfjs gives, and what is in `grad`. */
function both(initial: Tensor[], loss: (weights: Tensor[]) => Scalar): [number[][], number[][]] {
  const variables = initial.map((value) => tf.variable(value));
  const { value, grads } = tf.variableGrads(() => loss(variables));
  const expected = variables.map((variable) => [...(grads[variable.name] as Tensor).dataSync()]);
  value.dispose();
  tf.dispose(grads);
  tf.dispose(variables);
  const parameters = initial.map((value) => new Parameter(value.clone()));
  backward(() => loss(parameters.map((p) => p.value)), { parameters }).dispose();
  const actual = parameters.map((p) => [...dense(p).dataSync()]);
  for (const p of parameters) p.dispose();
  return [expected, actual];
}

const parameterOf = (values: number[]): Parameter => new Parameter(tf.tensor1d(values));
const sumOfSquares = (p: Parameter): Scalar => p.value.square().sum() as Scalar;

describe.each(testBackends())('backward on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it("equals tfjs's variableGrads to the last bit on a multi-layer perceptron", () => {
    const x = tf.randomNormal([7, 5], 0, 1, 'float32', 1);
    const weights = [
      tf.randomNormal([5, 9], 0, 1, 'float32', 2),
      tf.randomNormal([9], 0, 1, 'float32', 3),
      tf.randomNormal([9, 3], 0, 1, 'float32', 4),
      tf.randomNormal([3], 0, 1, 'float32', 5),
    ];
    const [expected, actual] = both(weights, ([w1, b1, w2, b2]) => {
      const hidden = tf.tanh(tf.add(tf.matMul(x as tf.Tensor2D, w1 as Tensor), b1 as Tensor));
      return tf
        .softmax(tf.add(tf.matMul(hidden as tf.Tensor2D, w2 as Tensor), b2 as Tensor))
        .square()
        .mean() as Scalar;
    });
    expect(actual).toEqual(expected);
    tf.dispose([x, weights]);
  });

  // tfjs's wasm backend has no gradient of convolution filters.
  it.skipIf(backend === 'wasm')("equals tfjs's variableGrads to the last bit on a convolution", () => {
    const image = tf.randomNormal([2, 6, 6, 3], 0, 1, 'float32', 1) as tf.Tensor4D;
    const [expected, actual] = both(
      [tf.randomNormal([3, 3, 3, 4], 0, 1, 'float32', 2), tf.randomNormal([4], 0, 1, 'float32', 3)],
      ([filter, bias]) => {
        const y = tf.add(tf.conv2d(image, filter as tf.Tensor4D, 1, 'same'), bias as Tensor);
        return tf
          .avgPool(tf.relu(y) as tf.Tensor4D, 2, 2, 'valid')
          .square()
          .mean() as Scalar;
      },
    );
    expect(actual).toEqual(expected);
  });

  it('adds up the uses of a parameter that is used several times', () => {
    const [expected, actual] = both(
      [tf.tensor1d([0.5, -2, 3])],
      ([w]) =>
        tf.add(
          (w as Tensor).square().sum(),
          tf
            .mul(w as Tensor, tf.sin(w as Tensor))
            .add(w as Tensor)
            .sum(),
        ) as Scalar,
    );
    expect(actual).toEqual(expected);
  });

  it('accumulates over calls, times the seed', () => {
    const p = parameterOf([1, 2]);
    backward(() => sumOfSquares(p), { parameters: [p], seed: 3 }).dispose();
    backward(() => sumOfSquares(p), { parameters: [p], seed: 1 }).dispose();
    expect([...dense(p).dataSync()]).toEqual([8, 16]);
    p.dispose();
  });

  it('computes the seed from the output when it is a function', () => {
    const p = parameterOf([1, 2]);
    backward(() => ({ loss: sumOfSquares(p), items: 5 }), {
      parameters: [p],
      seed: (output) => output.items,
    }).loss.dispose();
    expect([...dense(p).dataSync()]).toEqual([10, 20]);
    p.dispose();
  });

  it('gives the caller what the closure returned, and keeps nothing else', () => {
    const p = parameterOf([1, 2]);
    p.grad = tf.keep(tf.zeros([2]));
    const before = tf.memory().numTensors;
    const output = backward(
      () => {
        const logits = tf.mul(p.value, 2);
        return { loss: tf.sum(tf.exp(logits)) as Scalar, logits, unused: tf.tanh(logits) };
      },
      { parameters: [p] },
    );
    expect([...output.logits.dataSync()]).toEqual([2, 4]);
    expect(output.unused.dataSync()).toHaveLength(2);
    tf.dispose(output);
    expect(tf.memory().numTensors).toBe(before);
    p.dispose();
  });

  it('leaves frozen parameters and those that the loss does not depend on without a gradient', () => {
    const [p, frozen, other] = [parameterOf([1]), parameterOf([2]), parameterOf([3])];
    frozen.requiresGrad = false;
    backward(() => tf.mul(p.value, frozen.value).sum() as Scalar, { parameters: [p, frozen, other] }).dispose();
    expect([...dense(p).dataSync()]).toEqual([2]);
    expect([frozen.grad, other.grad]).toEqual([null, null]);
    for (const each of [p, frozen, other]) each.dispose();
  });

  it('does not compute what only a frozen parameter would need', () => {
    const [p, frozen] = [parameterOf([1]), parameterOf([2])];
    frozen.requiresGrad = false;
    const early = tf.customGrad((x) => ({
      value: (x as Tensor).square(),
      gradFunc: () => {
        throw new Error('asked for a gradient that nobody needs');
      },
    }));
    backward(() => tf.mul(p.value, early(frozen.value)).sum() as Scalar, { parameters: [p, frozen] }).dispose();
    expect([...dense(p).dataSync()]).toEqual([4]);
    for (const each of [p, frozen]) each.dispose();
  });

  it('tells when a parameter is ready: after its last use, the later layers first', () => {
    const [first, last, both2] = [parameterOf([1]), parameterOf([2]), parameterOf([3])];
    const ready: Parameter[] = [];
    backward(
      () => tf.mul(tf.square(tf.mul(tf.mul(first.value, both2.value), both2.value)), last.value).sum() as Scalar,
      {
        parameters: [first, both2, last],
        onParameterReady: (p) => {
          if (p === both2) expect([...dense(p).dataSync()]).toEqual([4 * 27 * 2]);
          ready.push(p);
        },
      },
    ).dispose();
    expect(ready[0]).toBe(last);
    expect(new Set(ready).size).toBe(3);
    for (const each of [first, last, both2]) each.dispose();
  });

  it('differentiates through tf.customGrad, also when it returns its argument or one tensor twice', () => {
    const [a, b] = [parameterOf([1, 2]), parameterOf([3, 4])];
    const before = tf.memory().numTensors;
    const passThrough = tf.customGrad((x, y) => ({
      value: tf.add(x as Tensor, y as Tensor),
      gradFunc: (dy) => [dy, dy],
    }));
    const saving = tf.customGrad((x, save) => {
      (save as tf.GradSaveFunc)([x as Tensor]);
      return { value: (x as Tensor).square(), gradFunc: (dy, saved) => tf.mul(dy, tf.mul(saved[0] as Tensor, 2)) };
    });
    backward(() => saving(passThrough(a.value, b.value)).sum() as Scalar, { parameters: [a, b] }).dispose();
    expect([...dense(a).dataSync()]).toEqual([8, 12]);
    expect([...dense(b).dataSync()]).toEqual([8, 12]);
    expect(tf.memory().numTensors).toBe(before + 2);
    for (const each of [a, b]) each.dispose();
  });

  it('gives no tensor away twice', () => {
    const [p, q] = [parameterOf([1]), parameterOf([1])];
    backward(() => tf.add(p.value, q.value).sum() as Scalar, { parameters: [p, q] }).dispose();
    p.zeroGrad();
    expect([...dense(q).dataSync()]).toEqual([1]);
    for (const each of [p, q]) each.dispose();
  });
});
