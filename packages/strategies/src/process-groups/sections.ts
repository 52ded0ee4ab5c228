/** Parts of arrays. */
import type { CollectiveArray } from '@tensorloom/core/distributed';

/** Elements `start .. end` of an array, in the same memory and of the same class: a `subarray` whose type says so. */
export function section<A extends CollectiveArray>(data: A, start: number | undefined, end?: number): A {
  return data.subarray(start, end) as unknown as A;
}
