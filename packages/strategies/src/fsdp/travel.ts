/** What parameters and gradients travel as: float32, or halves of it, in buffers that are used again. */
import { elementTypeOf, viewOf, type ArrayOf, type ProcessGroup } from '@tensorloom/core';
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

/** A buffer of its own. */
export function allocateTravel(group: ProcessGroup, storage: TravelStorage, length: number): TravelBuffer {
  return group.allocate<TravelStorage>(storage, length);
}

/** A unit in use arrives in one buffer while the next is under way in another, and gradients travel in a third. */
const MOST_KEPT = 3;

/** Buffers of a group that come back after use: communication needs the same few sizes again and again. */
export class BufferPool {
  readonly #group: ProcessGroup;
  readonly #free: TravelBuffer[] = [];
  /** What was given out, by its view. */
  readonly #taken = new Map<TravelBuffer, TravelBuffer>();

  #longestKept = 0;

  constructor(group: ProcessGroup) {
    this.#group = group;
  }

  /** Buffers of up to `length` elements are kept for later use. */
  keepUpTo(length: number): void {
    this.#longestKept = Math.max(this.#longestKept, length);
  }

  /** Contents are what they happen to be. */
  take(storage: TravelStorage, length: number): TravelBuffer {
    const fitting = this.#free
      .filter((buffer) => buffer.length >= length && elementTypeOf(buffer) === storage)
      .sort((a, b) => a.length - b.length)[0];
    if (fitting !== undefined) this.#free.splice(this.#free.indexOf(fitting), 1);
    const buffer = fitting ?? allocateTravel(this.#group, storage, length);
    const view = part(buffer, 0, length);
    this.#taken.set(view, buffer);
    return view;
  }

  give(view: TravelBuffer): void {
    const buffer = this.#taken.get(view);
    if (buffer === undefined) return;
    this.#taken.delete(view);
    if (buffer.length > this.#longestKept) return;
    this.#free.push(buffer);
    // The largest are kept: they serve every purpose.
    this.#free.sort((a, b) => b.byteLength - a.byteLength).splice(MOST_KEPT);
  }

  /** Of all buffers, taken or not. */
  get bytes(): number {
    return [...this.#free, ...this.#taken.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }
}
