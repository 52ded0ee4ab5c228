/** Collectives of parts that are too large for one MPI call, as several of slices of the parts. */
import { bytesPerElement, elementTypeOf, viewOf, type CollectiveArray } from '@tensorloom/core/distributed';

/** Slices of all parts that one call carries. */
export interface Round {
  /** Elements of each slice. */
  readonly counts: Int32Array;
  /** Where each slice begins in the compact array of the round's slices. */
  readonly offsets: Int32Array;
  readonly total: number;
  /** Where each slice begins in the array of whole parts. */
  readonly starts: readonly number[];
}

/**
 * Cuts parts into rounds of at most `maxCount` elements in all.
 * @param plan how many rounds, of how many elements of each part, where that depends on other ranks' parts
 */
export function roundsOf(parts: readonly number[], maxCount: number, plan = planRounds(parts, maxCount)): Round[] {
  const { perRound, rounds } = plan;
  const partStarts = startsOf(parts);
  return Array.from({ length: rounds }, (_, round) => {
    const counts = parts.map((part) => Math.max(0, Math.min(perRound, part - round * perRound)));
    const offsets = startsOf(counts);
    return {
      counts: Int32Array.from(counts),
      offsets: Int32Array.from(offsets),
      total: counts.reduce((sum, count) => sum + count, 0),
      starts: partStarts.map((start, i) => start + Math.min(round * perRound, parts[i]!)),
    };
  });
}

export interface RoundPlan {
  /** Elements of each part in one round. */
  readonly perRound: number;
  readonly rounds: number;
}

/** All ranks come to the same plan from the same parts. */
function planRounds(parts: readonly number[], maxCount: number): RoundPlan {
  const total = parts.reduce((sum, part) => sum + part, 0);
  const largest = Math.max(1, ...parts);
  const perRound = total <= maxCount ? largest : Math.max(1, Math.floor(maxCount / parts.length));
  return { perRound, rounds: Math.ceil(largest / perRound) };
}

/** The round's slices side by side: `whole` itself where they are that already. */
export function compact<A extends CollectiveArray>(whole: A, round: Round): A {
  if (round.total === whole.length) return whole;
  const slices = emptyLike(whole, round.total);
  round.counts.forEach((count, i) => {
    const start = round.starts[i]!;
    slices.set(whole.subarray(start, start + count), round.offsets[i]);
  });
  return slices;
}

/** Where a round's slices can be received: `whole` itself where the round is all of it. */
export function roomFor<A extends CollectiveArray>(whole: A, round: Round): A {
  return round.total === whole.length ? whole : emptyLike(whole, round.total);
}

/** Puts received slices into their places. */
export function spread(slices: CollectiveArray, whole: CollectiveArray, round: Round): void {
  if (slices === whole) return;
  round.counts.forEach((count, i) => {
    const offset = round.offsets[i]!;
    whole.set(slices.subarray(offset, offset + count), round.starts[i]);
  });
}

/** A view of some elements, of the same class. */
export function sliceOf(array: CollectiveArray, start: number, end: number): CollectiveArray {
  const { buffer, byteOffset, BYTES_PER_ELEMENT: size } = array;
  const length = Math.min(end, array.length) - start;
  return viewOf(elementTypeOf(array), buffer, byteOffset + start * size, length);
}

/** A new array of the same class. */
export function emptyLike<A extends CollectiveArray>(array: A, length: number): A {
  const type = elementTypeOf(array);
  return viewOf(type, new ArrayBuffer(length * bytesPerElement(type)), 0, length) as A;
}

function startsOf(counts: readonly number[]): number[] {
  let start = 0;
  return counts.map((count) => {
    const own = start;
    start += count;
    return own;
  });
}
