/** Element-wise reductions of arrays in host memory: what every transport adds up with. */
import { TensorloomError, type CollectiveArray, type ElementType, type ReduceOp } from '@tensorloom/core/distributed';
import { encodeBFloat16, encodeFloat16, halves } from './halves.ts';
import { readBufferIn } from './simd/reduce-in-place.ts';
import { simdReduce, simdReduceBytes, type SimdArray } from './simd/simd-reduce.ts';

/** Folds `source` into `target`, element by element. `mean` folds as `sum`; `scaleToMean` divides at the end. */
export function reduceInto(target: CollectiveArray, source: CollectiveArray, op: ReduceOp, type: ElementType): void {
  if (type === 'float16' || type === 'bfloat16')
    return reduceHalves(target as Uint16Array, source as Uint16Array, op, type);
  if (type !== 'uint8' && simdReduce(target as SimdArray, source as SimdArray, op, type)) return;
  // What is left is short, or of bytes: one loop for all of it.
  const combine = type === 'int32' && op === 'product' ? Math.imul : combinations[op];
  for (let i = 0; i < target.length; i++) target[i] = combine(target[i]!, source[i]!);
}

/**
 * As `reduceInto`, of bytes that begin anywhere, where that is possible without copying them.
 * @returns whether it was
 */
export function reduceBytesInto(target: CollectiveArray, source: Uint8Array, op: ReduceOp, type: ElementType): boolean {
  if (type === 'float16' || type === 'bfloat16' || type === 'uint8') return false;
  return simdReduceBytes(target as SimdArray, source, op, type);
}

/** What to read into before `reduceBytesInto`, so that nothing has to be copied; null if anything does as well. */
export function readBufferFor(target: CollectiveArray, type: ElementType): Uint8Array | null {
  return type === 'float16' || type === 'bfloat16' || type === 'uint8' ? null : readBufferIn(target.buffer);
}

/** Divides a sum over `worldSize` ranks. */
export function scaleToMean(target: CollectiveArray, worldSize: number, type: ElementType): void {
  const factor = 1 / worldSize;
  if (type === 'float16' || type === 'bfloat16') {
    const { table, encode } = halves[type];
    for (let i = 0; i < target.length; i++) target[i] = encode(table[target[i]!]! * factor);
    return;
  }
  if (type !== 'float32' && type !== 'float64')
    throw new TensorloomError('BAD_OPTION', `The mean of ${type} is no ${type}; use sum, or floating point.`);
  for (let i = 0; i < target.length; i++) target[i] = target[i]! * factor;
}

/** Adds in float32 and rounds once. */
function reduceHalves(target: Uint16Array, source: Uint16Array, op: ReduceOp, type: 'float16' | 'bfloat16'): void {
  const { table, encode } = halves[type];
  if (op === 'sum' || op === 'mean') {
    // What gradients need: loops of their own, in which nothing varies.
    if (type === 'float16') sumFloat16(target, source, table);
    else sumBFloat16(target, source, table);
    return;
  }
  const combine = combinations[op];
  for (let i = 0; i < target.length; i++) target[i] = encode(combine(table[target[i]!]!, table[source[i]!]!));
}

function sumFloat16(target: Uint16Array, source: Uint16Array, table: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = encodeFloat16(table[target[i]!]! + table[source[i]!]!);
}

function sumBFloat16(target: Uint16Array, source: Uint16Array, table: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = encodeBFloat16(table[target[i]!]! + table[source[i]!]!);
}

const combinations: Readonly<Record<ReduceOp, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  mean: (a, b) => a + b,
  product: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};
