/** Reductions of half-precision numbers from all ranks, in float32, rounded once. */
import type { ReduceOp } from '@tensorloom/core/distributed';
import { halves } from '../halves.ts';

/**
 * @param contributions the ranks' bit patterns of the same elements, rank after rank
 * @param result the bit patterns of the reduction, as many as one rank's
 */
export function foldHalves(
  contributions: Uint16Array,
  result: Uint16Array,
  op: ReduceOp,
  type: 'float16' | 'bfloat16',
): void {
  const format = halves[type];
  const { table } = format;
  const count = result.length;
  if (count === 0) return;
  const ranks = contributions.length / count;
  const combine = combinations[op];
  for (let i = 0; i < count; i++) {
    let folded = table[contributions[i]!]!;
    for (let rank = 1; rank < ranks; rank++) folded = combine(folded, table[contributions[rank * count + i]!]!);
    result[i] = format.encode(op === 'mean' ? folded / ranks : folded);
  }
}

const combinations: Readonly<Record<ReduceOp, (a: number, b: number) => number>> = {
  sum: (a, b) => Math.fround(a + b),
  mean: (a, b) => Math.fround(a + b),
  product: (a, b) => Math.fround(a * b),
  max: Math.max,
  min: Math.min,
};
