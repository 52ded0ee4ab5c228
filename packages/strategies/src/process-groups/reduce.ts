/** Element-wise reductions of arrays in host memory: what every transport adds up with. */
import { TensorloomError, type CollectiveArray, type ElementType, type ReduceOp } from '@tensorloom/core';

/** Folds `source` into `target`, element by element. `mean` folds as `sum`; `scaleToMean` divides at the end. */
export function reduceInto(
  target: CollectiveArray,
  source: CollectiveArray,
  op: ReduceOp,
  type: ElementType,
): void {
  if (type === 'float16' || type === 'bfloat16') return reduceHalves(target as Uint16Array, source as Uint16Array, op, type);
  // One loop per operation and array class, so that each stays monomorphic.
  reducers[type][op](target as never, source as never, target.length);
}

/** Divides a sum over `worldSize` ranks. */
export function scaleToMean(target: CollectiveArray, worldSize: number, type: ElementType): void {
  const factor = 1 / worldSize;
  if (type === 'float16' || type === 'bfloat16') {
    const { decode, encode } = halves[type];
    for (let i = 0; i < target.length; i++) target[i] = encode(decode(target[i]!) * factor);
    return;
  }
  if (type !== 'float32' && type !== 'float64')
    throw new TensorloomError('BAD_OPTION', `The mean of ${type} is no ${type}; use sum, or floating point.`);
  for (let i = 0; i < target.length; i++) target[i] = target[i]! * factor;
}
