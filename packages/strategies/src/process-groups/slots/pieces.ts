/** Cutting arrays into pieces and copying them. */
import type { CollectiveArray } from '@tensorloom/core/distributed';

export function copy(target: CollectiveArray, source: CollectiveArray): void {
  if (target.length > 0) target.set(source);
}

/** Also where both are the same memory, or overlap. */
export function copyAny(target: CollectiveArray, source: CollectiveArray): void {
  if (target.length === 0 || (target.buffer === source.buffer && target.byteOffset === source.byteOffset)) return;
  target.set(source);
}

/** Part `index` of `length` elements in `parts` nearly equal ones: start and end. */
export function part(length: number, parts: number, index: number): readonly [start: number, end: number] {
  const size = Math.ceil(length / parts);
  return [Math.min(length, index * size), Math.min(length, (index + 1) * size)];
}

/** Start and length of chunk `step` of `total` elements. */
export function window(total: number, piece: number, step: number): readonly [start: number, length: number] {
  const start = Math.min(total, step * piece);
  return [start, Math.min(piece, total - start)];
}

export function offsets(counts: readonly number[]): number[] {
  let sum = 0;
  return counts.map((count) => (sum += count) - count);
}
