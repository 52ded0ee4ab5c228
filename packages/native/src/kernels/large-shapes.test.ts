import { tf } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { nativeBackend } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';

/** Sizes that an int32 cannot have; 2^32 would become 0 in one. */
const beyond = [2 ** 31, 2 ** 32, 2 ** 32 + 4];

/** Kernels see a shape and one element only: they must not get as far as to look at more. */
describe.skipIf(!nativeIsBuilt)('tensors of 2^31 elements or more on native', () => {
  let dataId: object;
  beforeAll(async () => {
    await activateNative();
    ({ dataId } = nativeBackend().makeTensorInfo([1], 'float32', Float32Array.of(1)));
  });

  const run = (name: string, inputs: Record<string, number[]>, attrs: tf.NamedAttrMap = {}) => {
    const tensors = Object.entries(inputs).map(([key, shape]) => [key, { dataId, shape, dtype: 'float32' as const }]);
    return tf.getKernel(name, 'native')!.kernelFunc({
      inputs: Object.fromEntries(tensors) as tf.NamedTensorInfoMap,
      attrs,
      backend: nativeBackend(),
    });
  };
  const refused = {
    code: 'UNSUPPORTED',
    message: expect.stringMatching(/native.* \[.*(21474836|4294967).*\].*2\^31/),
  };

  it.each(beyond)('of one axis of %d are refused by functions of two operands', (size) => {
    expect(() => run('Add', { a: [size], b: [size] })).toThrow(expect.objectContaining(refused));
    expect(() => run('Multiply', { a: [2, size], b: [1, size] })).toThrow(expect.objectContaining(refused));
    expect(() => run('Less', { a: [size], b: [1] })).toThrow(expect.objectContaining(refused));
  });

  it.each(beyond)('are refused by what moves elements with a stride of %d', (size) => {
    expect(() => run('Transpose', { x: [2, size] }, { perm: [1, 0] })).toThrow(expect.objectContaining(refused));
    expect(() => run('Slice', { x: [3, size] }, { begin: [1, 0], size: [1, 2] })).toThrow(
      expect.objectContaining(refused),
    );
    const attributes = { paddings: [[0, size]], constantValue: 0 };
    expect(() => run('PadV2', { x: [1] }, attributes as unknown as tf.NamedAttrMap)).toThrow(
      expect.objectContaining(refused),
    );
  });

  it('go to the engine by their axes if each is shorter, and meet its own checks', () => {
    // The operand has one element, so the engine must refuse it: by the true number, not by what is left of it modulo 2^32.
    expect(() => run('Add', { a: [2 ** 16, 2 ** 16], b: [2 ** 16, 2 ** 16] })).toThrow(/4294967296|memory/);
  });
});
