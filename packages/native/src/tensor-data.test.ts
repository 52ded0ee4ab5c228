import { tf, type Tensor } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon } from './addon.ts';
import { nativeBackend } from './backend.ts';
import { activateNative, nativeIsBuilt } from './native.testing.ts';

/** A tensor in the engine's memory. */
const inEngine = (values: number[]): Tensor => tf.add(tf.tensor1d(values), tf.scalar(0));

describe.skipIf(!nativeIsBuilt)('data of tensors on native', () => {
  beforeAll(activateNative);

  it('are read as copies', () => {
    const x = inEngine([1, 2, 3]);
    x.dataSync()[0] = 99;
    expect([...x.dataSync()]).toEqual([1, 2, 3]);
    x.dispose();
  });

  it("leave no memory behind in kernels of tfjs's, without a pause for garbage collection", () => {
    const step = (): void => {
      tf.tidy(() => {
        tf.erf(tf.add(tf.erf(tf.ones([64, 64])), 1));
      });
    };
    expect(tf.getKernel('Erf', 'native')?.kernelFunc).toBe(tf.getKernel('Erf', 'cpu')?.kernelFunc);
    step();
    const before = addon().memoryUsage();
    for (let i = 0; i < 100; i++) step();
    const after = addon().memoryUsage();
    expect([after.buffers, after.total]).toEqual([before.buffers, before.total]);
  });

  it('outlive an operand that a kernel of tfjs returned a part of', () => {
    const x = inEngine([1, 2, 3, 4]);
    const backend = nativeBackend();
    const lent = backend.dataOf(x.dataId).values as Float32Array;
    const part = backend.makeTensorInfo([2], 'float32', lent.subarray(1, 3));
    x.dispose();
    expect(lent).toHaveLength(0);
    tf.add(tf.ones([4]), 1).dispose();
    expect([...(backend.readSync(part.dataId) as Float32Array)]).toEqual([2, 3]);
    backend.disposeData(part.dataId);
  });

  it('stay as long as JavaScript holds what it was shown to keep', () => {
    const x = inEngine([1, 2]);
    const shown = nativeBackend().hostValues(x.dataId);
    x.dispose();
    tf.add(tf.ones([2]), 1).dispose();
    expect([...shown!]).toEqual([1, 2]);
  });

  it('are converted for a tensor that tfjs takes for one of another type', () => {
    const integers = tf.tensor1d([1, -2], 'int32');
    const { buffers } = addon().memoryUsage();
    const backend = nativeBackend();
    backend.incRef(integers.dataId);
    const floats = tf.engine().makeTensorFromTensorInfo({ dataId: integers.dataId, shape: [2], dtype: 'float32' });
    expect([...tf.add(floats, 0.5).dataSync()]).toEqual([1.5, -1.5]);
    backend.disposeData(integers.dataId);
    integers.dispose();
    expect(addon().memoryUsage().buffers - buffers).toBeLessThanOrEqual(2);
  });
});
