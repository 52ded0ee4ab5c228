import type { ElementType, ReduceOp } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { kernelsBase64, sharedKernelsBase64 } from './kernels.ts';
// @ts-expect-error -- a script without types
import { assemble } from './make-kernels.mjs';
import { kernelReadBuffer, simdReduce, simdReduceBytes, type SimdArray } from './simd-reduce.ts';

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

describe('what was read into the memory of the kernels', () => {
  it.each([0, 1, 4, 7])('is reduced from byte %i, into shared memory that is aligned in either way', (at) => {
    for (const start of [0, 4]) {
      const target = new Float32Array(new SharedArrayBuffer(4 * 20_001 + start), start, 20_001).fill(0.5);
      const source = numbers('float32', target.length, 3) as Float32Array;
      const bytes = kernelReadBuffer().subarray(at, at + source.byteLength);
      bytes.set(new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
      expect(simdReduceBytes(target, bytes, 'sum', 'float32')).toBe(true);
      expect(target.findIndex((value, i) => value !== Math.fround(source[i]! + 0.5))).toBe(-1);
    }
  });

  it('may reach to its end', () => {
    const buffer = kernelReadBuffer();
    const source = buffer.subarray(buffer.length - 4 * 1001).fill(0);
    const target = new Int32Array(1001).fill(9);
    expect(simdReduceBytes(target, source, 'sum', 'int32')).toBe(true);
    expect(target.every((value) => value === 9)).toBe(true);
  });

  it('is not what lies elsewhere', () => {
    expect(simdReduceBytes(new Int32Array(1024), new Uint8Array(4096), 'sum', 'int32')).toBe(false);
  });
});

it('leaves short arrays and types without a kernel to the scalar loop', () => {
  expect(simdReduce(new Float32Array(4), new Float32Array(4), 'sum', 'float32')).toBe(false);
  expect(simdReduce(new Float32Array(4096), new Float32Array(4096), 'sum', 'bfloat16' as ElementType)).toBe(false);
});

it('the kernels in kernels.ts are those that make-kernels.mjs makes', async () => {
  const make = assemble as (isShared: boolean) => Promise<Buffer>;
  expect(kernelsBase64).toBe((await make(false)).toString('base64'));
  expect(sharedKernelsBase64).toBe((await make(true)).toString('base64'));
});
