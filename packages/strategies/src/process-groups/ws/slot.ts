/** Where a transfer goes that is received: into memory, or added to what is there. */
import {
  TensorloomError,
  bytesPerElement,
  elementTypeOf,
  viewOf,
  type CollectiveArray,
  type ElementType,
  type ReduceOp,
} from '@tensorloom/core/distributed';
import { readBufferFor, reduceBytesInto, reduceInto } from '../reduce.ts';
import type { BulkSink } from './bulk.ts';
import type { FrameHeader } from './frames.ts';

const SCRATCH_BYTES = 256 * 1024;
/** Fragments begin at any byte; typed arrays must not. Shared by all slots: it is used within one call only. */
const scratch = new ArrayBuffer(SCRATCH_BYTES + 8);
const scratchBytes = new Uint8Array(scratch);

/** One transfer from one rank: takes its bytes in order and wakes whoever waits for them. */
export class Slot {
  readonly totalBytes: number;
  /** Bytes that are in place. */
  doneBytes = 0;
  readonly #target: Uint8Array;
  readonly #reduction: { readonly type: ElementType; readonly op: ReduceOp; readonly array: CollectiveArray } | null;
  /** Where what is added is best read to. */
  readonly readBuffer: Uint8Array | null;
  /** The beginning of an element whose end has not arrived. */
  readonly #partial = new Uint8Array(8);
  #partialBytes = 0;
  #waiting: { readonly bytes: number; readonly resolve: () => void } | null = null;

  constructor(target: CollectiveArray, reduction: ReduceOp | null, type: ElementType) {
    this.#target = bytesOf(target);
    this.totalBytes = target.byteLength;
    this.#reduction = reduction === null ? null : { type, op: reduction, array: target };
    this.readBuffer = reduction === null ? null : readBufferFor(target, type);
  }

  get isComplete(): boolean {
    return this.doneBytes === this.totalBytes;
  }

  /** The next byte that is expected. */
  get receivedBytes(): number {
    return this.doneBytes + this.#partialBytes;
  }

  /** @throws TensorloomError `BAD_DATA` for a frame that is not the next of this transfer */
  check({ offset, dataBytes, total }: FrameHeader): void {
    if (total !== this.totalBytes || offset !== this.receivedBytes)
      throw new TensorloomError(
        'BAD_DATA',
        `Bytes ${offset} to ${offset + dataBytes} of ${total} came, expected were those from ${this.receivedBytes} of ${this.totalBytes}.`,
      );
  }

  /** Takes the next bytes; no more than are missing. */
  accept(bytes: Uint8Array): void {
    if (this.#reduction !== null) return this.#reduce(bytes);
    for (let from = 0; from < bytes.length; from += SCRATCH_BYTES)
      this.#copy(bytes.subarray(from, from + SCRATCH_BYTES));
  }

  /**
   * Takes a frame's data as they come.
   * @throws TensorloomError `BAD_DATA` as `check`
   */
  sinkFor(header: FrameHeader, end: () => void): BulkSink {
    this.check(header);
    return new SlotSink(this, end);
  }

  /** Memory for the next bytes; null where they are worked on. */
  room(bytes: number): Uint8Array | null {
    return this.#reduction === null ? this.#target.subarray(this.doneBytes, this.doneBytes + bytes) : null;
  }

  /** So many bytes have been read into `room`. */
  placed(bytes: number): void {
    this.doneBytes += bytes;
  }

  #copy(bytes: Uint8Array): void {
    const { byteOffset } = this.#target;
    const isApart = (byteOffset + this.doneBytes - bytes.byteOffset) % 8 !== 0;
    // Into shared memory a copy between places that are not aligned alike goes byte by byte, several times slower than two copies.
    const isStaged = isApart && this.#target.buffer instanceof SharedArrayBuffer;
    const start = isStaged ? (byteOffset + this.doneBytes) % 8 : 0;
    if (isStaged) scratchBytes.set(bytes, start);
    this.#target.set(isStaged ? scratchBytes.subarray(start, start + bytes.length) : bytes, this.doneBytes);
    this.doneBytes += bytes.length;
  }

  /** Wakes whoever waits, once a frame is in. */
  wake(): void {
    if (this.#waiting === null || this.doneBytes < this.#waiting.bytes) return;
    const { resolve } = this.#waiting;
    this.#waiting = null;
    resolve();
  }

  /** Resolves when the first `bytes` bytes are in place. One waits at a time. */
  atLeast(bytes: number): Promise<void> | undefined {
    if (this.doneBytes >= bytes) return undefined;
    return new Promise((resolve) => (this.#waiting = { bytes, resolve }));
  }

  /** Resolves when all is in place. */
  async filled(): Promise<void> {
    await this.atLeast(this.totalBytes);
  }

  #reduce(bytes: Uint8Array): void {
    const { type } = this.#reduction!;
    const size = bytesPerElement(type);
    let from = 0;
    if (this.#partialBytes > 0) {
      from = Math.min(size - this.#partialBytes, bytes.length);
      this.#partial.set(bytes.subarray(0, from), this.#partialBytes);
      this.#partialBytes += from;
      if (this.#partialBytes < size) return;
      this.#partialBytes = 0;
      this.#fold(this.#partial.subarray(0, size));
    }
    const whole = bytes.length - ((bytes.length - from) % size);
    for (; from < whole; from += SCRATCH_BYTES) this.#fold(bytes.subarray(from, Math.min(from + SCRATCH_BYTES, whole)));
    if (whole < bytes.length) {
      this.#partial.set(bytes.subarray(whole));
      this.#partialBytes = bytes.length - whole;
    }
  }

  #fold(bytes: Uint8Array): void {
    const { type, op, array } = this.#reduction!;
    const size = bytesPerElement(type);
    const start = this.doneBytes / size;
    const count = bytes.length / size;
    const target = sliceOf(array, start, start + count);
    this.doneBytes += bytes.length;
    if (reduceBytesInto(target, bytes, op, type)) return;
    let source: CollectiveArray;
    if (bytes.byteOffset % size === 0) source = viewOf(type, bytes.buffer, bytes.byteOffset, count);
    else {
      scratchBytes.set(bytes);
      source = viewOf(type, scratch, 0, count);
    }
    reduceInto(target, source, op, type);
  }
}

/** One frame on its way to a slot. */
class SlotSink implements BulkSink {
  readonly readBuffer: Uint8Array | null;
  readonly #slot: Slot;
  readonly #end: () => void;

  constructor(slot: Slot, end: () => void) {
    this.#slot = slot;
    this.#end = end;
    this.readBuffer = slot.readBuffer;
  }

  accept(bytes: Uint8Array): void {
    this.#slot.accept(bytes);
  }

  room(bytes: number): Uint8Array | null {
    return this.#slot.room(bytes);
  }

  filled(bytes: number): void {
    this.#slot.placed(bytes);
  }

  end(): void {
    this.#end();
  }
}

/** As `subarray`, of the same class. */
export function sliceOf(array: CollectiveArray, start: number, end: number): CollectiveArray {
  const type = elementTypeOf(array);
  return viewOf(type, array.buffer, array.byteOffset + start * bytesPerElement(type), end - start);
}

export function bytesOf(array: CollectiveArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
