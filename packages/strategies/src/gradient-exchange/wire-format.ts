/** In what numbers gradients travel: as they are, or compressed to halves. */
import { BFloat16Bits, Float16Bits, type CollectiveArray, type ElementType } from '@tensorloom/core';
import { halves } from '../process-groups/halves.ts';

/** `none`: float32. Halves take half the bytes; ranks' sums are rounded to them as well. */
export type Compression = 'none' | 'float16' | 'bfloat16';

export const compressions = ['none', 'float16', 'bfloat16'] as const satisfies readonly Compression[];

/** What a collective's array must be of. */
export function elementTypeFor(compression: Compression): ElementType & ('float32' | 'float16' | 'bfloat16') {
  return compression === 'none' ? 'float32' : compression;
}

/** Writes `source × factor` into `target` from `offset` on, in the target's numbers. */
export function encode(target: CollectiveArray, offset: number, source: Float32Array, factor = 1): void {
  if (target instanceof Float32Array) {
    target.set(source, offset);
    if (factor !== 1) for (let i = offset; i < offset + source.length; i++) target[i] = target[i]! * factor;
    return;
  }
  const half = halves[halfTypeOf(target)];
  for (let i = 0; i < source.length; i++) target[offset + i] = half.encode(source[i]! * factor);
}

/** A copy of `length` numbers from `offset` on, `× factor`, as float32. */
export function decode(source: CollectiveArray, offset: number, length: number, factor = 1): Float32Array<ArrayBuffer> {
  const numbers = new Float32Array(length);
  if (source instanceof Float32Array) {
    numbers.set(source.subarray(offset, offset + length));
    if (factor !== 1) for (let i = 0; i < length; i++) numbers[i] = numbers[i]! * factor;
    return numbers;
  }
  const { table } = halves[halfTypeOf(source)];
  for (let i = 0; i < length; i++) numbers[i] = table[source[offset + i]!]! * factor;
  return numbers;
}

function halfTypeOf(array: CollectiveArray): 'float16' | 'bfloat16' {
  if (array instanceof BFloat16Bits) return 'bfloat16';
  if (array instanceof Float16Bits) return 'float16';
  throw new TypeError(`gradients do not travel in a ${array.constructor.name}`);
}
