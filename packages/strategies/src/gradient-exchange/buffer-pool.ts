/** Buffers for collectives that are used again and again, so that a few serve a model of any size. */
import type { ProcessGroup } from '@tensorloom/core';

export class BufferPool {
  readonly #group: ProcessGroup;
  readonly #free: Float32Array[] = [];
  /** The buffer behind each view that is out. */
  readonly #taken = new Map<Float32Array, Float32Array>();
  #bytes = 0;

  constructor(group: ProcessGroup) {
    this.#group = group;
  }

  /** Of all buffers, in use or not. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A buffer of at least `length`, as a view of that length; its content is what it was. */
  take(length: number): Float32Array {
    const index = this.#free.findIndex((buffer) => buffer.length >= length);
    if (index >= 0) return this.#out(this.#free.splice(index, 1)[0] as Float32Array, length);
    // One that is too small makes room for one that will do for both.
    const dropped = this.#free.pop();
    if (dropped !== undefined) this.#bytes -= dropped.byteLength;
    const buffer = this.#group.allocate('float32', length);
    this.#bytes += buffer.byteLength;
    return this.#out(buffer, length);
  }

  /** Takes back a view that `take` gave. */
  give(view: Float32Array): void {
    const buffer = this.#taken.get(view);
    if (buffer === undefined) return;
    this.#taken.delete(view);
    this.#free.push(buffer);
  }

  #out(buffer: Float32Array, length: number): Float32Array {
    const view = buffer.subarray(0, length);
    this.#taken.set(view, buffer);
    return view;
  }
}
