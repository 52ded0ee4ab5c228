/** Reductions in memory of the kernels: the bits of a scalar loop, and nothing but the target changes. */
import { describe, expect, it } from 'vitest';
import { viewOf } from '@tensorloom/core/distributed';
import type { ReduceOp } from '@tensorloom/core';
import { reduceBytesInto, readBufferFor } from '../reduce.ts';
import { allocateKernelMemory, readBufferBytes, type KernelMemory } from './kernel-memory.ts';
import { adoptMemory, readBufferIn, reduceInPlace } from './reduce-in-place.ts';
import type { SimdArray } from './simd-reduce.ts';

const bytes = 1_000_004;

function memory(): KernelMemory {
  const made = allocateKernelMemory(bytes);
  if (made === null) throw new Error('There is no memory for kernels.');
  return made;
}

const scalar: Readonly<Record<Exclude<ReduceOp, 'mean'>, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  product: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

describe.each([
  ['float32', Float32Array],
  ['float64', Float64Array],
  ['int32', Int32Array],
] as const)('%s', (type, Class) => {
  it.each(['sum', 'product', 'max', 'min'] as const)('%s gives the bits of a scalar loop', (op) => {
    const buffer = adoptMemory(memory());
    const readBuffer = readBufferIn(buffer)!;
    const all = viewOf(type, buffer, 0, 20_000) as SimdArray;
    for (const [start, length] of [
      [0, 16],
      [1, 1],
      [1, 17],
      [3, 4096],
      [5, 16_391],
    ] as const)
      for (const at of [0, 1, 7]) {
        for (let i = 0; i < all.length; i++) all[i] = ((i * 7919) % 2003) / 17 - 50;
        const before = all.slice();
        const source = new Class(length);
        for (let i = 0; i < length; i++) source[i] = ((i * 104_729) % 1009) / 13 - 30;
        if (type !== 'int32') [source[0], before[start], all[start]] = [-0, 0, 0];
        const given = readBuffer.subarray(at, at + source.byteLength);
        given.set(new Uint8Array(source.buffer));
        const expected = before.map((value, i) => {
          const other = source[i - start];
          if (other === undefined) return value;
          return type === 'int32' && op === 'product' ? Math.imul(value, other) : scalar[op](value, other);
        });
        expect(reduceInPlace(all.subarray(start, start + length), given, op, type)).toBe(true);
        expect(all.findIndex((value, i) => !Object.is(value, expected[i]))).toBe(-1);
      }
  });
});

describe('the memory', () => {
  it('may be read into, and reduced, to the ends of both', () => {
    const buffer = adoptMemory(memory());
    const readBuffer = readBufferIn(buffer)!;
    expect(readBuffer.length).toBe(readBufferBytes);
    const length = 1003;
    const target = new Int32Array(buffer, bytes - 4 * length, length).fill(2);
    const source = readBuffer.subarray(readBuffer.length - 4 * length).fill(1);
    expect(reduceInPlace(target, source, 'sum', 'int32')).toBe(true);
    expect(target.every((value) => value === 2 + 0x01010101)).toBe(true);
    expect(readBuffer.byteOffset).toBeGreaterThanOrEqual(bytes);
  });

  it('is of zeros, and for large arrays only', () => {
    expect(new Uint8Array(memory().buffer).every((value) => value === 0)).toBe(true);
    expect(allocateKernelMemory(1000)).toBeNull();
    expect(allocateKernelMemory(2 ** 32)).toBeNull();
  });

  it('that another thread reads into is none of this one', () => {
    const { buffer } = memory();
    const target = new Float32Array(buffer, 0, 100_000);
    expect(readBufferFor(target, 'float32')).toBeNull();
    expect(reduceBytesInto(target, new Uint8Array(buffer, 500_000, 400_000), 'sum', 'float32')).toBe(false);
  });

  it('is not read into for what the kernels do not know', () => {
    const buffer = adoptMemory(memory());
    expect(readBufferFor(new Uint16Array(buffer), 'bfloat16')).toBeNull();
    expect(readBufferFor(new Float32Array(buffer), 'float32')).not.toBeNull();
  });
});
