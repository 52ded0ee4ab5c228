/** Model FLOPs of kernels that stand for several of tfjs's: what the same operations count when they are composed of products of matrices. */
import { flopCounters } from '@tensorloom/core';
import { sizeOf } from './kernel.ts';

type Shape = readonly number[] | null | undefined;

/** One product of `[rows, k]` with `[k, n]`, given the shapes of x and the weight `[n, k]`. */
function product(x: Shape, weight: Shape): number {
  if (x === null || x === undefined || weight === null || weight === undefined) return 0;
  return (2 * sizeOf(x) * sizeOf(weight)) / (weight[1] as number);
}

/** One product of the scores' kind, for all heads: `[seq, dim]` with `[dim, seq]`. The whole square counts, although half of it is masked. */
function scores(context: Shape): number {
  const [batch, seq, width] = context as readonly [number, number, number];
  return 2 * batch * seq * seq * width;
}

flopCounters.register('Linear', ([x, weight]) => product(x, weight));
// One product for each gradient that is a matrix; the bias's is a sum.
flopCounters.register(
  'LinearGrad',
  ([, x, weight], gradients) => gradients.filter(({ length }) => length > 1).length * product(x, weight),
);
flopCounters.register('BloomAttention', (_inputs, [context]) => 2 * scores(context));
flopCounters.register('BloomAttentionGrad', ([context]) => 4 * scores(context));
