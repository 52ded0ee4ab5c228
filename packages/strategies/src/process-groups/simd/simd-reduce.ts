/**
 * Reductions by WebAssembly's SIMD. Its loops only reach a memory of their own, so operands pass through a block that stays in
 * the first-level caches: three copies there cost less than a scalar loop saves.
 */
import type { ElementType, ReduceOp } from '@tensorloom/core';
import { kernelsBase64 } from './kernels.ts';

type Kernel = (target: number, source: number, bytes: number) => void;
/** Arrays that the kernels know. */
export type SimdArray = Float32Array | Float64Array | Int32Array;

/** Bytes of each operand's block: one page of WebAssembly's memory has both. */
const blockBytes = 32 * 1024;
/** Below this the copies are not worth it. */
const leastBytes = 2048;

/** What is used of WebAssembly: Node's types do not declare it. */
interface WebAssemblyApi {
  readonly Memory: new (descriptor: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, Kernel>> };
}

interface Loaded {
  readonly memory: ArrayBuffer;
  readonly kernels: Readonly<Record<string, Kernel>>;
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
  const kernel = loaded?.kernels[`${type}_${op === 'mean' ? 'sum' : op}`];
  if (loaded === null || kernel === undefined) return false;
  const { BYTES_PER_ELEMENT: width } = target;
  const perBlock = blockBytes / width;
  const TypedArray = target.constructor as Float32ArrayConstructor;
  const targetBlock = new TypedArray(loaded.memory, 0, perBlock);
  const sourceBlock = new TypedArray(loaded.memory, blockBytes, perBlock);
  for (let from = 0; from < target.length; from += perBlock) {
    const count = Math.min(perBlock, target.length - from);
    const part = target.subarray(from, from + count) as Float32Array;
    targetBlock.set(part);
    sourceBlock.set(source.subarray(from, from + count));
    // What is beyond `count` in the last 64 bytes is left over from before and is not read back.
    kernel(0, blockBytes, (count * width + 63) & ~63);
    part.set(count === perBlock ? targetBlock : targetBlock.subarray(0, count));
  }
  return true;
}

function load(): Loaded | null {
  try {
    const { Memory, Module, Instance } = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi })
      .WebAssembly;
    const memory = new Memory({ initial: 1 });
    const { exports } = new Instance(new Module(Buffer.from(kernelsBase64, 'base64')), { env: { memory } });
    return { memory: memory.buffer, kernels: exports };
  } catch {
    return null;
  }
}
