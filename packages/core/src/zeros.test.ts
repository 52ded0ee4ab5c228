import { expect, it } from 'vitest';
import { tf } from './tensors.ts';
import { zeros } from './zeros.ts';

it('zeros come from the backend where it has a kernel for them, else from tfjs', async () => {
  await tf.setBackend('cpu');
  const plain = zeros([2, 2]);
  const shapes: unknown[] = [];
  tf.registerKernel({
    kernelName: 'Zeros',
    backendName: 'cpu',
    kernelFunc: ({ backend, attrs }) => {
      shapes.push(attrs?.['shape']);
      return (backend as tf.KernelBackend & { makeTensorInfo: (...of: unknown[]) => tf.TensorInfo }).makeTensorInfo(
        [3],
        'float32',
        Float32Array.of(0, 0, 0),
      );
    },
  });
  const own = zeros([3]);
  tf.unregisterKernel('Zeros', 'cpu');
  expect(plain.arraySync()).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(own.arraySync()).toEqual([0, 0, 0]);
  expect(shapes).toEqual([[3]]);
});
