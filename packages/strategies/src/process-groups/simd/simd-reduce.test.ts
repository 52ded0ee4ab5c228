import type { ElementType, ReduceOp } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { kernelsBase64 } from './kernels.ts';
// @ts-expect-error -- a script without types
import { assemble } from './make-kernels.mjs';
import { simdReduce, type SimdArray } from './simd-reduce.ts';

const classes = { float32: Float32Array, float64: Float64Array, int32: Int32Array } as const;
const scalar: Readonly<Record<Exclude<ReduceOp, 'mean'>, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  product: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

function numbers(type: keyof typeof classes, length: number, seed: number): SimdArray {
  const array = new classes[type](length + 3).subarray(3);
  for (let i = 0; i < length; i++) array[i] = ((i * 7919 + seed) % 2003) / (type === 'int32' ? 1 : 17) - 50;
  return array;
}

describe.each(['float32', 'float64', 'int32'] as const)('%s', (type) => {
  it.each(['sum', 'product', 'max', 'min'] as const)('%s gives the bits of a scalar loop, on odd lengths too', (op) => {
    for (const length of [512, 1023, 8192, 16_391, 70_001]) {
      const target = numbers(type, length, 1);
      const source = numbers(type, length, 5);
      if (type !== 'int32')
        [target[3], source[3], target[9], source[11], source[12]] = [NaN, 1, Infinity, -Infinity, -0];
      const expected = target.map((value, i) => scalar[op](value, source[i]!));
      if (type === 'int32' && op === 'product')
        expected.forEach((_, i) => (expected[i] = Math.imul(target[i]!, source[i]!)));
      expect(simdReduce(target, source, op, type)).toBe(true);
      expect(target).toEqual(expected);
    }
  });
});

it('leaves short arrays and types without a kernel to the scalar loop', () => {
  expect(simdReduce(new Float32Array(4), new Float32Array(4), 'sum', 'float32')).toBe(false);
  expect(simdReduce(new Float32Array(4096), new Float32Array(4096), 'sum', 'bfloat16' as ElementType)).toBe(false);
});

it('the kernels in kernels.ts are those that make-kernels.mjs makes', async () => {
  const made = await (assemble as () => Promise<Buffer>)();
  expect(kernelsBase64).toBe(made.toString('base64'));
});
