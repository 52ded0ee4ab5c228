/** What parameters and gradients travel as: float32, or halves of it. */
import { elementTypeOf, viewOf, type ArrayOf } from '@tensorloom/core';
import { halves } from '../process-groups/halves.ts';

/** Element types that values may travel as. */
export type TravelStorage = 'float32' | 'float16' | 'bfloat16';

/** A buffer of one of these types. */
export type TravelBuffer = ArrayOf[TravelStorage];

/** Reads `length` elements of `source` from `from` on into `target` from `to` on; halves are multiplied with `factor`. */
export function decodeInto(
  target: Float32Array,
  to: number,
  source: TravelBuffer,
  from: number,
  length: number,
  storage: TravelStorage,
  factor = 1,
): void {
  if (storage === 'float32') {
    target.set(source.subarray(from, from + length), to);
    return;
  }
  const { table } = halves[storage];
  for (let i = 0; i < length; i++) target[to + i] = (table[source[from + i] as number] as number) * factor;
}

/** `length` elements from `start` on, in the same memory. */
export function part(buffer: TravelBuffer, start: number, length: number): TravelBuffer {
  const byteOffset = buffer.byteOffset + start * buffer.BYTES_PER_ELEMENT;
  return viewOf<TravelStorage>(elementTypeOf(buffer) as TravelStorage, buffer.buffer, byteOffset, length);
}
