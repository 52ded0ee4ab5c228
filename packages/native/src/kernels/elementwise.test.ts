import { tf, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, storageCodes } from '../addon.ts';
import { nativeBackend } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { compareWithCpu, expectClose, values } from './compare.testing.ts';

/** Two shapes that meet by broadcasting. */
const shapes = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom('both', 'a', 'b')), { maxLength: 4 })
  .map((axes) => ({
    a: axes.map(([size, repeats]) => (repeats === 'a' ? 1 : size)),
    b: axes
      .slice(axes.findIndex(([, repeats]) => repeats !== 'b'))
      .map(([size, repeats]) => (repeats === 'b' ? 1 : size)),
  }));

const size = (shape: readonly number[]): number => shape.reduce((product, length) => product * length, 1);
const special = [0, -0, 0.5, 1.5, -2.5, 3, NaN, Infinity, -Infinity];

describe.skipIf(!nativeIsBuilt)('elementwise kernels on native', () => {
  beforeAll(activateNative);

  const unary: [string, (x: Tensor) => Tensor][] = [
    ['Abs', tf.abs],
    ['Neg', tf.neg],
    ['Exp', tf.exp],
    ['Log', tf.log],
    ['Sqrt', tf.sqrt],
    ['Rsqrt', tf.rsqrt],
    ['Square', tf.square],
    ['Reciprocal', tf.reciprocal],
    ['Sigmoid', tf.sigmoid],
    ['Tanh', tf.tanh],
    ['Relu', tf.relu],
    ['Relu6', tf.relu6],
    ['Elu', tf.elu],
    ['Sign', tf.sign],
    ['Floor', tf.floor],
    ['Ceil', tf.ceil],
    ['Round', tf.round],
    ['LeakyRelu', (x) => tf.leakyRelu(x, 0.25)],
    ['Step', (x) => tf.step(x, -2)],
    ['ClipByValue', (x) => tf.clipByValue(x, -0.5, 1)],
    ['IsNan', tf.isNaN],
    ['IsInf', tf.isInf],
    ['IsFinite', tf.isFinite],
    ['Cast', (x) => tf.cast(x, 'int32')],
    ['Cast', (x) => tf.cast(x, 'bool')],
    ['ZerosLike', tf.zerosLike],
    ['OnesLike', tf.onesLike],
  ];
  it.each(unary)('%s equals tfjs on its CPU backend', (_, apply) => {
    for (const length of [1, 7, 33, 1023])
      compareWithCpu(() => apply(tf.tensor1d([...values(length, length), ...special])));
  });

  it.each([tf.abs, tf.neg, tf.square, tf.sign, tf.relu, tf.round, tf.exp])('%o leaves integers to tfjs', (apply) => {
    compareWithCpu(() => apply(tf.tensor2d([[1, -2, 3]], [1, 3], 'int32')));
  });

  const binary: [string, (a: Tensor, b: Tensor) => Tensor][] = [
    ['Add', tf.add],
    ['Sub', tf.sub],
    ['Multiply', tf.mul],
    ['RealDiv', tf.div],
    ['Maximum', tf.maximum],
    ['Minimum', tf.minimum],
    ['Pow', tf.pow],
    ['SquaredDifference', tf.squaredDifference],
    ['Equal', tf.equal],
    ['NotEqual', tf.notEqual],
    ['Less', tf.less],
    ['LessEqual', tf.lessEqual],
    ['Greater', tf.greater],
    ['GreaterEqual', tf.greaterEqual],
  ];
  it.each(binary)('%s equals tfjs on its CPU backend for all shapes, types and special values', (_, apply) => {
    for (const a of special) compareWithCpu(() => apply(tf.fill([special.length], a), tf.tensor1d(special)));
    fc.assert(
      fc.property(shapes, fc.constantFrom('float32', 'int32'), (shape, dtype) => {
        const data = (length: number, seed: number): number[] => [...values(length, seed)].map((x) => x * 4);
        compareWithCpu(() =>
          apply(
            tf.tensor(data(size(shape.a), 1), shape.a, dtype as 'float32'),
            tf.tensor(data(size(shape.b), 2), shape.b, dtype as 'float32'),
          ),
        );
      }),
      { numRuns: 40 },
    );
  });

  it.each([
    ['LogicalAnd', tf.logicalAnd],
    ['LogicalOr', tf.logicalOr],
    ['LogicalXor', tf.logicalXor],
    ['NotEqual', tf.notEqual],
  ] as const)('%s equals tfjs on its CPU backend for booleans', (_, apply) => {
    compareWithCpu(() => apply(tf.tensor1d([0, 0, 1, 1], 'bool'), tf.tensor1d([0, 1, 0, 1], 'bool')));
    compareWithCpu(() => tf.logicalNot(apply(tf.tensor2d([[1], [0]], [2, 1], 'bool'), tf.tensor1d([0, 1], 'bool'))));
  });

  it('Select takes either side, also repeated', () => {
    for (const length of [1, 33]) {
      compareWithCpu(() =>
        tf.where(tf.greater(tf.tensor1d(values(length, 1)), 0), tf.tensor1d(values(length, 2)), tf.tensor1d([7])),
      );
    }
  });

  it('AddN adds all and leaves its operands alone', () => {
    const { buffers } = addon().memoryUsage();
    compareWithCpu(() => tf.addN([1, 2, 3].map((seed) => tf.tensor1d(values(33, seed)))));
    expect(addon().memoryUsage().buffers).toBe(buffers);
    const [a, b, c] = [tf.scalar(1), tf.scalar(2), tf.scalar(3)];
    expect([...tf.addN([a, b, c]).dataSync(), ...a.dataSync(), ...b.dataSync()]).toEqual([6, 1, 2]);
  });

  it('Fill makes every type', () => {
    for (const [value, dtype] of [
      [1.5, 'float32'],
      [0, 'float32'],
      [-3, 'int32'],
      [1, 'bool'],
    ] as const)
      compareWithCpu(() => tf.fill([3, 2], value, dtype));
    expect(tf.fill([2], 'a').dataSync()).toEqual(['a', 'a']);
  });

  it.each([
    ['float16', 1e-3],
    ['bfloat16', 1e-2],
  ] as const)('stores what it computes as %s, and constants exactly', (storage, tolerance) => {
    const backend = nativeBackend();
    backend.activationStorage = storageCodes[storage];
    try {
      const sum = tf.add(tf.tensor1d(values(1023, 1)), tf.tensor1d(values(1023, 2)));
      const out = tf.tanh(sum);
      expect(addon().storageOf(backend.handle(out))).toBe(storageCodes[storage]);
      const expected = values(1023, 1).map((x, i) => Math.tanh(x + values(1023, 2)[i]!));
      expectClose(out.dataSync(), expected, tolerance);
      expect([...tf.fill([1], -1e9).dataSync()]).toEqual([-1e9]);
    } finally {
      backend.activationStorage = storageCodes.float32;
    }
  });
});
