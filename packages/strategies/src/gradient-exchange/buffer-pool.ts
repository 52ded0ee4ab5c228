/** Memory for collectives that is used again and again, so that a few buffers serve a model of any size. */
import {
  bytesPerElement,
  viewOf,
  type ArrayOf,
  type CollectiveArray,
  type ElementType,
  type ProcessGroup,
} from '@tensorloom/core';

/** A buffer serves what fills at least this part of it, and anything up to `SMALL_BYTES`. */
const LEAST_USE = 1 / 4;
const SMALL_BYTES = 64 * 1024;

/**
 * Whatever a strategy needs step after step must come from here: memory that threads share is freed long after its last use, since
 * its bytes do not count in the decision when to collect garbage.
 */
export class BufferPool {
  readonly #group: ProcessGroup;
  /** The smallest first. */
  readonly #free: Uint8Array[] = [];
  /** The buffer behind each view that is out. */
  readonly #taken = new Map<CollectiveArray, Uint8Array>();
  #bytes = 0;

  constructor(group: ProcessGroup) {
    this.#group = group;
  }

  /** Of all buffers, in use or not. */
  get bytes(): number {
    return this.#bytes;
  }

  /** An array of `length` elements; its content is what it happens to be. */
  take<E extends ElementType>(type: E, length: number): ArrayOf[E] {
    const buffer = this.#bufferOf(length * bytesPerElement(type));
    const view = viewOf(type, buffer.buffer, buffer.byteOffset, length);
    this.#taken.set(view, buffer);
    return view;
  }

  /** Takes back what `take` gave. Not to be called after a collective with it has failed: it may still be written to. */
  give(view: CollectiveArray): void {
    const buffer = this.#taken.get(view);
    if (buffer === undefined) return;
    this.#taken.delete(view);
    const place = this.#free.findIndex(({ byteLength }) => byteLength >= buffer.byteLength);
    this.#free.splice(place === -1 ? this.#free.length : place, 0, buffer);
  }

  #bufferOf(bytes: number): Uint8Array {
    const place = this.#free.findIndex(({ byteLength }) => byteLength >= bytes);
    const fitting = this.#free[place];
    if (fitting !== undefined && fitting.byteLength <= Math.max(SMALL_BYTES, bytes / LEAST_USE))
      return this.#free.splice(place, 1)[0] as Uint8Array;
    // One that is a little too small makes room for one that will do for both.
    const replaced = this.#free.findLastIndex(
      ({ byteLength }) => byteLength < bytes && byteLength >= bytes * LEAST_USE,
    );
    if (replaced !== -1) this.#bytes -= (this.#free.splice(replaced, 1)[0] as Uint8Array).byteLength;
    this.#bytes += bytes;
    return this.#group.allocate('uint8', bytes);
  }
}
