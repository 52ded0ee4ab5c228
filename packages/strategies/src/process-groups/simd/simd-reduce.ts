/**
 * Reductions by WebAssembly's SIMD of arrays anywhere. Its loops only reach a memory of their own, so operands pass through a block that
 * stays in the first-level caches: three copies there cost less than a scalar loop saves.
 */
import type { ElementType, ReduceOp } from '@tensorloom/core';
import { kernelName, pageBytes, readBufferBytes, WebAssembly, type Kernel, type Kernels } from './kernel-memory.ts';
import { kernelsBase64 } from './kernels.ts';
import { reduceInPlace } from './reduce-in-place.ts';

/** Arrays that the kernels know. */
export type SimdArray = Float32Array | Float64Array | Int32Array;

/** Bytes of each operand's block. */
const blockBytes = 16 * 1024;
/** Of the other operand's block, in the same page as the target's. */
const sourceAddress = pageBytes / 2;
/** Below this the copies are not worth it. */
const leastBytes = 2048;

interface Loaded {
  readonly memory: ArrayBuffer;
  readonly kernels: Kernels;
}

/** Null where there is no WebAssembly with SIMD. */
let loaded: Loaded | null | undefined;

/**
 * Folds `source` into `target` if there is a kernel for it and it is worth while. The same bits as the scalar loop gives.
 * @returns whether it did
 */
export function simdReduce(target: SimdArray, source: SimdArray, op: ReduceOp, type: ElementType): boolean {
  if (target.byteLength < leastBytes) return false;
  loaded = loaded === undefined ? load() : loaded;
  const kernel = loaded?.kernels[kernelName(op, type)];
  if (loaded === null || kernel === undefined) return false;
  const at = sourceAddress + (source.byteOffset & 7);
  const sourceBlock = blockAt(loaded.memory, source, at);
  foldBlocks(loaded.memory, kernel, target, (from, to) => {
    sourceBlock.set(source.subarray(from, to));
    return at;
  });
  return true;
}

/**
 * As `simdReduce`, of bytes in `kernelReadBuffer` or in that of the target's memory; they begin anywhere and are as many as `target` has.
 * @returns whether it did: not for bytes elsewhere
 */
export function simdReduceBytes(target: SimdArray, source: Uint8Array, op: ReduceOp, type: ElementType): boolean {
  if (reduceInPlace(target, source, op, type)) return true;
  const kernel = loaded?.kernels[kernelName(op, type)];
  if (!loaded || kernel === undefined || source.buffer !== loaded.memory || target.byteLength < leastBytes)
    return false;
  const { BYTES_PER_ELEMENT: width } = target;
  foldBlocks(loaded.memory, kernel, target, (from) => source.byteOffset + from * width);
  return true;
}

/** Memory to read from the network into: in the kernels' memory, if there are any. One for this thread. */
export function kernelReadBuffer(): Uint8Array {
  loaded = loaded === undefined ? load() : loaded;
  if (loaded === null) return new Uint8Array(readBufferBytes);
  return new Uint8Array(loaded.memory, pageBytes, readBufferBytes);
}

/** @param prepare gives the address of the other operand's elements, before each block */
function foldBlocks(
  memory: ArrayBuffer,
  kernel: Kernel,
  target: SimdArray,
  prepare: (from: number, to: number) => number,
): void {
  const { BYTES_PER_ELEMENT: width } = target;
  const perBlock = blockBytes / width;
  const at = target.byteOffset & 7;
  const block = blockAt(memory, target, at);
  for (let from = 0; from < target.length; from += perBlock) {
    const to = Math.min(from + perBlock, target.length);
    const part = target.subarray(from, to) as Float32Array;
    block.set(part);
    // What is beyond the end in the last 64 bytes is anything, and is not read back.
    kernel(at, prepare(from, to), ((to - from) * width + 63) & ~63);
    part.set(to - from === perBlock ? block : block.subarray(0, to - from));
  }
}

/**
 * A block for elements of `array`. It has to lie in its word of 8 bytes as they do in theirs: from and to shared memory, other
 * copies go byte by byte.
 */
function blockAt(memory: ArrayBuffer, array: SimdArray, address: number): Float32Array {
  const TypedArray = array.constructor as Float32ArrayConstructor;
  return new TypedArray(memory, address, blockBytes / array.BYTES_PER_ELEMENT);
}

function load(): Loaded | null {
  try {
    const { Memory, Module, Instance } = WebAssembly;
    // A page of blocks, the read buffer, and a page that the last 64 bytes of a reduction may reach into.
    const memory = new Memory({ initial: 2 + readBufferBytes / pageBytes });
    const { exports } = new Instance(new Module(Buffer.from(kernelsBase64, 'base64')), { env: { memory } });
    return { memory: memory.buffer as ArrayBuffer, kernels: exports };
  } catch {
    return null;
  }
}
