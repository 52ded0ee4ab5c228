/** FLOPs of a transformer's operations on native are those that the composites count on cpu. */
import { bloomAttention, linear, measureFlops, Module, Parameter, tf, type Tensor } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';

class Attention extends Module {
  readonly weight = new Parameter(tf.randomNormal([3 * 8, 8], 0, 1, 'float32', 1));
  readonly bias = new Parameter(tf.zeros([3 * 8]));

  override forward(x: Tensor): Tensor {
    const mask = tf.ones([2, 5], 'int32');
    return bloomAttention(linear(x, this.weight, this.bias), Float32Array.of(0.5, 0.25), mask, { heads: 2 });
  }
}

function count(): [forward: number, both: number] {
  const module = new Attention();
  const x = tf.randomNormal([2, 5, 8], 0, 1, 'float32', 2);
  const counts: [number, number] = [
    measureFlops(module, () => module.forward(x)),
    measureFlops(module, () => tf.sum(module.forward(x)) as tf.Scalar, { backward: true }),
  ];
  module.dispose();
  x.dispose();
  return counts;
}

describe.runIf(nativeIsBuilt)('model FLOPs', () => {
  it('of a linear map and attention are the same on native as composed on cpu', async () => {
    await tf.setBackend('cpu');
    const composed = count();
    await activateNative();
    expect(count()).toEqual(composed);
    expect(composed[0]).toBe(2 * 10 * 8 * 24 + 4 * 2 * 25 * 8);
  });
});
