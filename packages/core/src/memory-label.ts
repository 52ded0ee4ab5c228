/** Tells the backend what a tensor's memory is for, where it wants to know. */
import { isKernel, isTapeOn } from './autograd/tape.ts';
import { runKernel } from './ops/fused-op.ts';
import type { Tensor } from './tensors.ts';

/** What memory of more than passing use is for. */
export type MemoryKind = 'parameter' | 'gradient' | 'optimizerState';

/**
 * Counts a tensor's memory as `kind`. A backend that keeps statistics by kind registers a tfjs kernel `LabelMemory` with the
 * input `x` and the attribute `kind`, which returns `[]`.
 */
export function labelMemory<T extends Tensor>(x: T, kind: MemoryKind): T {
  // What a tape records is not labelled: it would take the label for an operation.
  if (!isTapeOn() && isKernel('LabelMemory')) runKernel('LabelMemory', { x }, { kind });
  return x;
}
