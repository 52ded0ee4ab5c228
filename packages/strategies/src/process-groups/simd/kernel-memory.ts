/**
 * Shared memory in which the kernels of WebAssembly work on data where they are. Every array has a memory of its own, so that it lives as
 * long as a view of it does; in its last pages the communication thread reads from the network what is added to the rest.
 */
import type { ElementType, ReduceOp } from '@tensorloom/core';

/** A shared `WebAssembly.Memory`. Threads can post it to each other. */
export interface KernelMemory {
  readonly buffer: SharedArrayBuffer;
}

export type Kernel = (target: number, source: number, bytes: number) => void;
/** By the names that `kernelName` gives. */
export type Kernels = Readonly<Record<string, Kernel>>;

/** What is used of WebAssembly: Node's types do not declare it. */
interface WebAssemblyApi {
  readonly Memory: new (descriptor: {
    readonly initial: number;
    readonly maximum?: number;
    readonly shared?: boolean;
  }) => { readonly buffer: ArrayBufferLike };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Kernels };
}

export const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyApi };

export const pageBytes = 64 * 1024;
/** What is read from the network at once; small enough to stay in the second-level cache. */
export const readBufferBytes = 256 * 1024;
/** At the end of a memory: the read buffer, then a page for what is left over from whole vectors. */
const reservedBytes = readBufferBytes + pageBytes;
/** Smaller arrays are not worth the reserve. */
const leastBytes = 512 * 1024;
const mostBytes = 2 ** 32 - reservedBytes - pageBytes;
let isRefused = false;

/** @returns zeros; null for sizes that are not worth it or not possible, and where the system has no room for it */
export function allocateKernelMemory(bytes: number): KernelMemory | null {
  if (isRefused || bytes < leastBytes || bytes > mostBytes) return null;
  const pages = Math.ceil((bytes + reservedBytes) / pageBytes);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }) as KernelMemory;
  } catch {
    // Each one reserves some GB of addresses; where these are limited, asking again would only take time.
    isRefused = true;
    return null;
  }
}

/** The part of a memory that it is read into. */
export function readBufferOf({ buffer }: KernelMemory): Uint8Array {
  return new Uint8Array(buffer, buffer.byteLength - reservedBytes, readBufferBytes);
}

/** Where the page for left-over elements begins. */
export function spareAddress({ buffer }: KernelMemory): number {
  return buffer.byteLength - pageBytes;
}

const names = new Map<ElementType, Readonly<Record<ReduceOp, string>>>();

/** Of the kernel for an operation. Looked up: names joined anew for each piece of data would cost more than finding them. */
export function kernelName(op: ReduceOp, type: ElementType): string {
  let ofType = names.get(type);
  if (ofType === undefined) {
    const [sum, product, max, min] = ['sum', 'product', 'max', 'min'].map((each) => `${type}_${each}`) as Four;
    ofType = { sum, mean: sum, product, max, min };
    names.set(type, ofType);
  }
  return ofType[op];
}

type Four = [string, string, string, string];
