/** Reductions in memory that the kernels reach: nothing is copied. What they add must have been read into the memory's own read buffer. */
import type { ElementType, ReduceOp } from '@tensorloom/core';
import {
  kernelName,
  readBufferOf,
  spareAddress,
  WebAssembly,
  type KernelMemory,
  type Kernels,
} from './kernel-memory.ts';
import { sharedKernelsBase64 } from './kernels.ts';
import type { SimdArray } from './simd-reduce.ts';

/** The kernels go four vectors at a time. */
const strideBytes = 64;

interface Place {
  readonly kernels: Kernels;
  readonly readBuffer: Uint8Array;
  readonly spareAddress: number;
}

/** Of the memories that this thread may read into. */
const places = new WeakMap<ArrayBufferLike, Place>();
/** Null where there is no SIMD. */
let compiled: object | null | undefined;

/**
 * From now on this thread reads into the reserve of `memory`: of all threads only one may.
 * @returns its buffer, of which arrays have to be views
 */
export function adoptMemory(memory: KernelMemory): SharedArrayBuffer {
  const { buffer } = memory;
  compiled = compiled === undefined ? compile() : compiled;
  if (compiled !== null && !places.has(buffer)) {
    const kernels = new WebAssembly.Instance(compiled, { env: { memory } }).exports;
    places.set(buffer, { kernels, readBuffer: readBufferOf(memory), spareAddress: spareAddress(memory) });
  }
  return buffer;
}

/** What to read into, to be folded into a part of `buffer` by `reduceInPlace`; null if `buffer` is no memory of this thread's. */
export function readBufferIn(buffer: ArrayBufferLike): Uint8Array | null {
  return places.get(buffer)?.readBuffer ?? null;
}

/**
 * Folds bytes of the read buffer, which begin anywhere and are as many as `target` has, into `target`.
 * @returns whether it did: not for bytes elsewhere
 */
export function reduceInPlace(target: SimdArray, source: Uint8Array, op: ReduceOp, type: ElementType): boolean {
  if (source.buffer !== target.buffer) return false;
  const place = places.get(target.buffer);
  const kernel = place?.kernels[kernelName(op, type)];
  if (place === undefined || kernel === undefined) return false;
  const whole = target.byteLength - (target.byteLength % strideBytes);
  kernel(target.byteOffset, source.byteOffset, whole);
  const rest = target.byteLength - whole;
  if (rest > 0) {
    const at = place.spareAddress;
    const memory = new Uint8Array(target.buffer);
    const end = target.byteOffset + whole;
    memory.copyWithin(at, end, end + rest);
    memory.copyWithin(at + strideBytes, source.byteOffset + whole, source.byteOffset + whole + rest);
    // What is beyond the rest in these 64 bytes is anything, and is not read back.
    kernel(at, at + strideBytes, strideBytes);
    memory.copyWithin(end, at, at + rest);
  }
  return true;
}

function compile(): object | null {
  try {
    return new WebAssembly.Module(Buffer.from(sharedKernelsBase64, 'base64'));
  } catch {
    return null;
  }
}
