import { tf, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, storageCodes } from '../addon.ts';
import { nativeBackend } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { compareWithCpu } from './compare.testing.ts';

const size = (shape: readonly number[]): number => shape.reduce((product, length) => product * length, 1);

/** Numbers in order, of a shape. */
const counted = (shape: number[], dtype: 'float32' | 'int32' = 'float32'): Tensor =>
  tf.tensor(
    Array.from({ length: size(shape) }, (_, i) => i),
    shape,
    dtype,
  );

/** A shape, and for each axis two numbers below 1. */
const boxes = fc.array(
  fc.record({
    length: fc.integer({ min: 1, max: 6 }),
    first: fc.double({ min: 0, max: 0.99, noNaN: true }),
    last: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  { minLength: 1, maxLength: 4 },
);

describe.skipIf(!nativeIsBuilt)('kernels that move elements on native', () => {
  beforeAll(activateNative);

  it('Transpose puts axes in any order', () => {
    const orders = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 }).chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        perm: fc.shuffledSubarray([...shape.keys()], { minLength: shape.length, maxLength: shape.length }),
      }),
    );
    fc.assert(fc.property(orders, ({ shape, perm }) => compareWithCpu(() => tf.transpose(counted(shape), perm))));
  });

  it('Slice, StridedSlice, Reverse, PadV2 and Tile are those of tfjs on its CPU backend', () => {
    fc.assert(
      fc.property(boxes, (axes) => {
        const shape = axes.map(({ length }) => length);
        const begin = axes.map(({ length, first }) => Math.floor(first * length));
        const end = axes.map(({ length, last }, i) => begin[i]! + Math.floor(last * (length - begin[i]! + 1)));
        const count = end.map((stop, i) => Math.min(stop, shape[i]!) - begin[i]!);
        compareWithCpu(() => tf.slice(counted(shape), begin, count));
        compareWithCpu(() =>
          tf.stridedSlice(
            counted(shape, 'int32'),
            begin,
            end,
            shape.map((_, i) => 1 + (i % 2)),
          ),
        );
        compareWithCpu(() =>
          tf.stridedSlice(
            counted(shape),
            shape.map((n) => n - 1),
            begin,
            shape.map(() => -1),
          ),
        );
        compareWithCpu(() =>
          tf.reverse(
            counted(shape),
            [...shape.keys()].filter((axis) => axis % 2 === 0),
          ),
        );
        compareWithCpu(() =>
          tf.tile(
            counted(shape),
            shape.map((_, i) => 1 + (i % 3)),
          ),
        );
        compareWithCpu(() =>
          tf.pad(
            counted(shape),
            begin.map((before, i) => [before, i]),
            2.5,
          ),
        );
      }),
    );
  });

  it('Concat, Pack, Unpack and SplitV go along any axis', () => {
    for (const axis of [0, 1, 2, -1]) {
      const shape = [2, 3, 4];
      const other = shape.with(axis, 5);
      compareWithCpu(() => tf.concat([counted(shape), counted(other), counted(shape)], axis));
      compareWithCpu(() => tf.stack([counted(shape, 'int32'), counted(shape, 'int32')], axis));
      for (const i of [0, 1]) {
        compareWithCpu(() => tf.unstack(counted(shape), axis)[i]!);
        compareWithCpu(() => tf.split(counted(other), [1, 3, 1], axis)[i]!);
      }
    }
    compareWithCpu(() => tf.concat([tf.zeros([0, 2]), counted([3, 2])]));
  });

  it('Concat joins floats of several storages', () => {
    const backend = nativeBackend();
    backend.activationStorage = storageCodes.float16;
    const half = tf.add(tf.scalar(1), tf.tensor1d([1, 2]));
    backend.activationStorage = storageCodes.float32;
    expect([...tf.concat([half, tf.tensor1d([0.1])]).dataSync()]).toEqual([2, 3, Math.fround(0.1)]);
    const slice = tf.slice(half, 1, 1);
    expect([...slice.dataSync(), addon().storageOf(backend.handle(slice))]).toEqual([3, storageCodes.float16]);
  });

  it('GatherV2 takes slices along any axis, in batches, and refuses indices that are not there', () => {
    const indices = (): Tensor => tf.tensor2d([2, 0, 1, 1], [2, 2], 'int32');
    for (const axis of [0, 1, 2]) compareWithCpu(() => tf.gather(counted([3, 4, 5]), indices(), axis));
    compareWithCpu(() => tf.gather(counted([2, 4, 5]), indices(), 1, 1));
    compareWithCpu(() => tf.gather(counted([2, 4, 5]), indices(), 2, 1));
    expect(() => tf.gather(counted([2, 4]), tf.tensor1d([4], 'int32'), 1)).toThrow('4 is not in [0, 3]');
  });

  it('what needs no copy shares its data', () => {
    const x = tf.add(counted([2, 1, 3]), 1);
    const { buffers } = addon().memoryUsage();
    const shared = [
      tf.reshape(x, [6]),
      tf.transpose(x, [1, 0, 2]),
      tf.slice(x, [0, 0, 0], [2, 1, 3]),
      tf.cast(x, 'float32'),
      tf.expandDims(x),
    ];
    expect(addon().memoryUsage().buffers).toBe(buffers);
    x.dispose();
    for (const tensor of shared) expect([...tensor.dataSync()]).toEqual([1, 2, 3, 4, 5, 6]);
    tf.dispose(shared);
  });

  it('strings and complex numbers are left to tfjs', () => {
    expect(tf.concat([tf.tensor1d(['a']), tf.tensor1d(['b'])]).dataSync()).toEqual(['a', 'b']);
    expect(tf.slice(tf.tensor1d(['a', 'b']), 1, 1).dataSync()).toEqual(['b']);
    const complex = tf.concat([tf.complex([1], [2]), tf.complex([3], [4])]);
    expect([...tf.imag(complex).dataSync()]).toEqual([2, 4]);
  });
});
