import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
import { backward } from '../autograd/backward.ts';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { layerNorm } from './layer-norm.ts';

/** A kernel that answers with constants of the inputs' shapes and notes how it was called. */
describe('a fused operation on a backend that has kernels of its name', () => {
  const calls: { name: string; inputs: string[]; attributes: unknown }[] = [];
  const fill = (like: tf.TensorInfo | undefined, value: number): tf.TensorInfo =>
    tf.fill((like as tf.TensorInfo).shape, value);

  beforeAll(() => useBackend('cpu'));
  beforeEach(() => {
    calls.length = 0;
    tf.registerKernel({
      kernelName: 'LayerNorm',
      backendName: 'cpu',
      kernelFunc: ({ inputs, attrs }) => {
        calls.push({ name: 'LayerNorm', inputs: Object.keys(inputs), attributes: attrs });
        return [fill(inputs['x'], 2), tf.fill([2], 3), tf.fill([2], 4)];
      },
    });
    tf.registerKernel({
      kernelName: 'LayerNormGrad',
      backendName: 'cpu',
      kernelFunc: ({ inputs, attrs }) => {
        calls.push({ name: 'LayerNormGrad', inputs: Object.keys(inputs), attributes: attrs });
        const mean = (inputs['mean'] as Tensor).dataSync()[0] as number;
        return [fill(inputs['x'], 10 * mean), fill(inputs['weight'], 6), fill(inputs['weight'], 7)];
      },
    });
  });
  afterEach(() => {
    tf.unregisterKernel('LayerNorm', 'cpu');
    tf.unregisterKernel('LayerNormGrad', 'cpu');
  });

  it('runs them in place of the composite, forward and backward, with what the kernels hold', () => {
    const [x, weight, bias] = [
      new Parameter(tf.ones([2, 3])),
      new Parameter(tf.ones([3])),
      new Parameter(tf.ones([3])),
    ];
    const { y, loss } = backward(
      () => {
        const output = layerNorm(x.value, weight, bias, 0.25);
        return { y: output, loss: tf.sum(output) as Scalar };
      },
      { parameters: [x, weight, bias] },
    );
    expect([...y.dataSync()]).toEqual([2, 2, 2, 2, 2, 2]);
    expect([x, weight, bias].map((p) => (p.grad as Tensor).dataSync()[0])).toEqual([30, 6, 7]);
    expect(calls).toEqual([
      { name: 'LayerNorm', inputs: ['x', 'weight', 'bias'], attributes: { epsilon: 0.25 } },
      {
        name: 'LayerNormGrad',
        inputs: ['outputGradient', 'x', 'weight', 'mean', 'inverseDeviation'],
        attributes: { epsilon: 0.25, gradientsOf: ['x', 'weight', 'bias'] },
      },
    ]);
    tf.dispose([y, loss]);
    for (const p of [x, weight, bias]) p.dispose();
  });

  it('tells the gradient kernel what is needed, which may return that or all', () => {
    const x = tf.ones([2, 3]);
    const [weight, bias] = [new Parameter(tf.ones([3])), new Parameter(tf.ones([3]))];
    const run = (): number[] => {
      tf.dispose(backward(() => tf.sum(layerNorm(x, weight, bias, 0.25)) as Scalar, { parameters: [weight, bias] }));
      const gradients = [weight, bias].map((p) => (p.grad as Tensor | null)?.dataSync()[0] ?? 0);
      for (const p of [weight, bias]) p.zeroGrad();
      return gradients;
    };
    expect(run()).toEqual([6, 7]);
    expect(calls[1]?.attributes).toEqual({ epsilon: 0.25, gradientsOf: ['weight', 'bias'] });

    tf.unregisterKernel('LayerNormGrad', 'cpu');
    tf.registerKernel({
      kernelName: 'LayerNormGrad',
      backendName: 'cpu',
      kernelFunc: ({ inputs, attrs }) =>
        (attrs?.['gradientsOf'] as unknown as string[]).map((name) => fill(inputs['weight'], name === 'bias' ? 9 : 8)),
    });
    expect(run()).toEqual([8, 9]);
    bias.requiresGrad = false;
    expect(run()).toEqual([8, 0]);
    x.dispose();
    for (const p of [weight, bias]) p.dispose();
  });

  it('uses the composite on another backend', async () => {
    await useBackend('wasm');
    const y = tf.tidy(() => [...layerNorm(tf.tensor2d([1, 3], [1, 2]), tf.ones([2]), tf.zeros([2]), 0).dataSync()]);
    expect(y).toEqual([-1, 1]);
    expect(calls).toEqual([]);
    await useBackend('cpu');
  });
});
