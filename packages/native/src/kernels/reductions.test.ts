import { tf, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, storageCodes } from '../addon.ts';
import { nativeBackend } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { expectClose, onBackend, values } from './compare.testing.ts';

type Axes = number | number[] | undefined;
type Reduction = (x: Tensor, axes: Axes, keepDims: boolean) => Tensor;

const numeric: [string, Reduction][] = [
  ['sum', tf.sum],
  ['mean', tf.mean],
  ['max', tf.max],
  ['min', tf.min],
  ['prod', tf.prod],
];
const logical: [string, Reduction][] = [
  ['all', tf.all],
  ['any', tf.any],
];

/** A shape, some of its axes, and whether to keep these. */
const cases = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }).chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    axes: fc.option(fc.subarray([...shape.keys()], { minLength: 1 }), { nil: undefined }),
    keepDims: fc.boolean(),
  }),
);

interface Result {
  readonly shape: number[];
  readonly dtype: string;
  readonly values: ArrayLike<number>;
}

/** Runs on both backends; the engine's tensors are all freed. */
function compare(compute: () => Tensor, tolerance = 1e-5): void {
  const run = (): Result => {
    const y = compute();
    return { shape: y.shape, dtype: y.dtype, values: y.dataSync() };
  };
  const expected = onBackend('cpu', run);
  const before = addon().memoryUsage().buffers;
  const actual = onBackend('native', run);
  expect(addon().memoryUsage().buffers).toBe(before);
  expect([actual.shape, actual.dtype]).toEqual([expected.shape, expected.dtype]);
  expectClose(actual.values, expected.values, tolerance);
}

function make(shape: number[], dtype: 'float32' | 'int32' | 'bool'): Tensor {
  const data = values(tf.util.sizeFromShape(shape), 1);
  if (dtype === 'float32') return tf.tensor(data, shape);
  if (dtype === 'int32')
    return tf.tensor(
      Int32Array.from(data, (x) => Math.trunc(1.5 * x)),
      shape,
      'int32',
    );
  return tf.tensor(
    Uint8Array.from(data, (x) => Number(x > -1.5)),
    shape,
    'bool',
  );
}

describe.skipIf(!nativeIsBuilt)('reductions on native', () => {
  beforeAll(activateNative);

  it.each(numeric)('%s equals tfjs’s along any axes, for floats, integers and booleans', (name, reduction) => {
    fc.assert(
      fc.property(cases, fc.constantFrom('float32', 'int32', 'bool'), ({ shape, axes, keepDims }, dtype) => {
        if (dtype === 'bool' && (name === 'max' || name === 'min')) return;
        compare(() => reduction(make(shape, dtype), axes, keepDims));
      }),
      { numRuns: 60 },
    );
  });

  it.each(logical)('%s equals tfjs’s along any axes', (_, reduction) => {
    fc.assert(
      fc.property(cases, ({ shape, axes, keepDims }) => compare(() => reduction(make(shape, 'bool'), axes, keepDims))),
      { numRuns: 40 },
    );
  });

  it.each([
    [[1023, 129], 0],
    [[129, 1023], 1],
    [[70_001], undefined],
    [
      [3, 70, 33],
      [0, 2],
    ],
    [
      [7, 5, 6, 4],
      [1, 3],
    ],
  ])('are right for %j along %j', (shape, axes) => {
    compare(() => tf.sum(make(shape, 'float32'), axes), 1e-6);
    compare(() => tf.mean(make(shape, 'float32'), axes), 1e-6);
    compare(() => tf.max(make(shape, 'float32'), axes), 0);
  });

  it.each([
    ['argMax', tf.argMax],
    ['argMin', tf.argMin],
  ])('%s equals tfjs’s along any axis', (_, extreme: (x: Tensor, axis: number) => Tensor) => {
    const shapes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(shapes, fc.nat(2), fc.constantFrom('float32', 'int32'), (shape, axis, dtype) =>
        compare(() => extreme(make(shape, dtype), axis % shape.length), 0),
      ),
      { numRuns: 40 },
    );
  });

  it('cumsum equals tfjs’s along any axis, either way, exclusive or not', () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 });
    const types = fc.constantFrom('float32', 'int32', 'bool');
    fc.assert(
      fc.property(shapes, fc.nat(2), types, fc.boolean(), fc.boolean(), (shape, axis, dtype, exclusive, reverse) =>
        compare(() => tf.cumsum(make(shape, dtype), axis % shape.length, exclusive, reverse), 1e-6),
      ),
      { numRuns: 60 },
    );
  });

  it('halves are summed in float32, beyond what a half can hold', () => {
    onBackend('native', () => {
      const handle = addon().uploadFloats(new Float32Array(3 * 1000).fill(100), storageCodes.float16);
      const x = tf.engine().makeTensorFromTensorInfo(nativeBackend().fromHandle(handle, [3, 1000]));
      expect([...tf.sum(x, 1).dataSync()]).toEqual([100_000, 100_000, 100_000]);
      expect(tf.sum(x).dataSync()[0]).toBe(300_000);
    });
  });

  it('tell NaN as tfjs does', () => {
    onBackend('native', () => {
      const x = tf.tensor2d([1, NaN, 3, 4, 5, 6], [2, 3]);
      expect([...tf.max(x, 1).dataSync()]).toEqual([NaN, 6]);
      expect([...tf.min(x, 0).dataSync()]).toEqual([1, NaN, 3]);
      expect([...tf.argMax(x, 1).dataSync()]).toEqual([2, 2]);
    });
  });
});
