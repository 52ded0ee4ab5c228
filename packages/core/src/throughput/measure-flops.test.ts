import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { Module } from '../modules/module.ts';
import { Parameter } from '../modules/parameter.ts';
import { bloomAttention } from '../ops/bloom-attention.ts';
import { dropout } from '../ops/dropout.ts';
import { linear } from '../ops/linear.ts';
import { globalRandom } from '../random.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { flopCounters, measureFlops } from './measure-flops.ts';

const [batch, inputs, hidden, outputs] = [4, 3, 5, 2] as const;

class TwoLayers extends Module {
  readonly first = new Parameter(tf.ones([hidden, inputs]));
  readonly second = new Parameter(tf.ones([outputs, hidden]));

  forward(x: Tensor): { loss: Scalar; logits: Tensor } {
    const logits = linear(dropout(linear(x, this.first), 0.5, globalRandom()), this.second);
    return { loss: logits.mean() as Scalar, logits };
  }
}

class Attention extends Module {
  readonly qkv: Parameter;
  constructor(shape: number[]) {
    super();
    this.qkv = new Parameter(tf.ones(shape));
  }
  forward(mask: Tensor, heads: number): Scalar {
    return bloomAttention(this.qkv.value, new Float32Array(heads).fill(0.5), mask, { heads }).mean();
  }
}

describe.each(testBackends())('measureFlops on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('counts the products of forward and backward', () => {
    const model = new TwoLayers();
    const x = tf.ones([batch, inputs]);
    const [first, second] = [2 * batch * inputs * hidden, 2 * batch * hidden * outputs];
    expect(measureFlops(model, () => model.forward(x))).toBe(first + second);
    // Backward: both weights' gradients, and the second layer's input's; the data need none.
    expect(measureFlops(model, () => model.forward(x), { backward: true })).toBe(2 * first + 3 * second);
    model.dispose();
    x.dispose();
  });

  it('counts the products of attention', async () => {
    const [b, s, heads, dim] = [2, 6, 3, 4];
    const model = new Attention([b, s, heads * 3 * dim]);
    const mask = tf.ones([b, s], 'int32');
    const one = 2 * b * heads * s * s * dim;
    expect(measureFlops(model, () => model.forward(mask, heads))).toBe(2 * one);
    expect(measureFlops(model, () => model.forward(mask, heads), { backward: true })).toBe(6 * one);
    model.dispose();
    mask.dispose();
  });

  it('counts convolutions', () => {
    const model = new TwoLayers();
    const [image, filter] = [tf.ones([1, 6, 6, 3]) as tf.Tensor4D, tf.ones([3, 3, 3, 8]) as tf.Tensor4D];
    expect(measureFlops(model, () => tf.conv2d(image, filter, 1, 'valid'))).toBe(2 * (4 * 4 * 8) * (3 * 3 * 3));
    tf.dispose([image, filter]);
    model.dispose();
  });

  it('leaves gradients, random numbers and memory as they were, also after a failure', () => {
    const model = new TwoLayers();
    const x = tf.ones([batch, inputs]);
    const gradient = tf.keep(tf.ones([hidden, inputs]));
    model.first.grad = gradient;
    const random = globalRandom().stateDict();
    const before = tf.memory().numTensors;
    measureFlops(model, () => model.forward(x), { backward: true });
    const failing = (): Scalar => {
      model.forward(x);
      throw new Error('on purpose');
    };
    expect(() => measureFlops(model, failing, { backward: true })).toThrow('on purpose');
    expect(() => measureFlops(model, failing)).toThrow('on purpose');
    expect(tf.memory().numTensors).toBe(before);
    expect(model.first.grad).toBe(gradient);
    expect(gradient.isDisposed).toBe(false);
    expect(model.second.grad).toBeNull();
    expect(globalRandom().stateDict()).toEqual(random);
    expect(Object.hasOwn(tf.engine(), 'runKernel')).toBe(false);
    model.dispose();
    x.dispose();
  });
});

it('takes counters for kernels of a backend of its own', async () => {
  await useBackend('cpu');
  flopCounters.register('Square', ([x]) => x!.reduce((size, n) => size * n, 1));
  const x = tf.ones([2, 3]);
  expect(measureFlops(new TwoLayers(), () => tf.square(x))).toBe(6);
  x.dispose();
});
