/** Which parameters travel together. */
import type { Parameter } from '@tensorloom/core';

/** The first bucket is smaller, so that communication begins early in backward (as PyTorch's). */
export const FIRST_BUCKET_BYTES = 1024 * 1024;

/**
 * Buckets of up to `maxBytes` in reverse order of `parameters`: backward reaches the last ones first. A parameter is never split.
 * @param bytesPerElement of the numbers in which gradients travel
 */
export function planBuckets(
  parameters: readonly Parameter[],
  maxBytes: number,
  bytesPerElement: number,
): Parameter[][] {
  const buckets: Parameter[][] = [];
  let bytes = Infinity;
  for (const parameter of [...parameters].reverse()) {
    const size = parameter.size * bytesPerElement;
    const limit = buckets.length <= 1 ? Math.min(FIRST_BUCKET_BYTES, maxBytes) : maxBytes;
    if (bytes + size > limit) {
      buckets.push([]);
      bytes = 0;
    }
    (buckets.at(-1) as Parameter[]).push(parameter);
    bytes += size;
  }
  return buckets;
}
