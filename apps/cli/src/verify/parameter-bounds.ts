/** Which elements of a parameter are held to the strict bound after an optimizer run, and which are excused. */
import { MOVING_GRADIENT, OWN_EXCUSES, PARAMETER_ABSOLUTE } from './bounds.ts';

/** Flat arrays of one parameter, and the smallest size of our own gradient over the steps at an index. */
export interface ParameterResult {
  readonly actual: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  readonly referenceGradient: ArrayLike<number>;
  readonly smallestOwn: (index: number) => number;
}

/**
 * Tells for an index whether the strict bound applies. A reference gradient that is zero excuses an element. One of our own
 * that is zero in a step does so too, but only for the few elements where a window's gradients cancel out: if more of the
 * tensor need that excuse, then the gradients are wrong, and none of them has it.
 */
export function strictElements(result: ParameterResult): (index: number) => boolean {
  const { actual, expected, referenceGradient, smallestOwn } = result;
  const referenceMoves = (index: number): boolean => Math.abs(referenceGradient[index] as number) > MOVING_GRADIENT;
  const ownMoves = (index: number): boolean => smallestOwn(index) > MOVING_GRADIENT;
  let needed = 0;
  for (let i = 0; i < expected.length; i++) {
    const near = Math.abs((actual[i] as number) - (expected[i] as number)) <= PARAMETER_ABSOLUTE;
    if (!near && referenceMoves(i) && !ownMoves(i)) needed++;
  }
  const allowed = needed <= Math.max(OWN_EXCUSES.elements, OWN_EXCUSES.share * expected.length);
  return (index) => referenceMoves(index) && (!allowed || ownMoves(index));
}
