/** Gradients on their way: one buffer, filled as backward makes them ready, and the collective that carries it. */
import { type CollectiveArray, type Parameter, type ProcessGroup, type Work } from '@tensorloom/core';
import type { BucketLayout } from './bucket-layout.ts';
import { denseValues } from './gradient-values.ts';

export class Bucket {
  /** The collective under way or done; null before it is launched. */
  work: Work | null = null;
  readonly #filled = new Set<number>();

  constructor(
    readonly layout: BucketLayout,
    readonly buffer: CollectiveArray,
  ) {}

  get bytes(): number {
    return this.buffer.byteLength;
  }

  get isFull(): boolean {
    return this.#filled.size === this.layout.parameters.length;
  }

  /** Takes what `parameter` has in `grad` now, which stays. A second call does nothing. */
  put(parameter: Parameter, factor = 1): void {
    const index = this.layout.parameters.indexOf(parameter);
    if (this.#filled.has(index)) return;
    const { grad } = parameter;
    this.layout.put(this.buffer, index, grad === null ? null : denseValues(grad), factor);
    this.#filled.add(index);
  }

  /** Takes the gradients of all parameters that are not in it yet. */
  putRest(factor = 1): void {
    for (const parameter of this.layout.parameters) this.put(parameter, factor);
  }

  /** Begins anew. */
  reset(): void {
    this.work = null;
    this.#filled.clear();
  }
}

/** A bucket in memory that collectives use without a copy. */
export function allocateBucket(
  group: ProcessGroup,
  layout: BucketLayout,
  type: 'float32' | 'float16' | 'bfloat16',
): Bucket {
  return new Bucket(layout, group.allocate(type, layout.length));
}
