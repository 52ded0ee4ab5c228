/** Gradients of a module on their way to the ranks that keep their rows: in buckets, a few at a time. */
import { accumulateGradient, tf, type Parameter, type ProcessGroup, type Work } from '@tensorloom/core';
import { BucketLayout } from '../gradient-exchange/bucket-layout.ts';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { denseValues } from '../gradient-exchange/gradient-values.ts';
import { planBuckets } from '../gradient-exchange/plan-buckets.ts';

/** Buckets under way at once: one is carried while the next is filled. */
const MAX_IN_FLIGHT = 2;

interface Sent {
  readonly layout: BucketLayout;
  readonly buffer: Float32Array;
  /** This rank's section of the sum. */
  readonly output: Float32Array;
  readonly work: Work;
}

/**
 * Takes each gradient out of `parameter.grad`, which is free then, and adds the sum over all ranks of this rank's rows into the shard's.
 * All ranks send all buckets, in one order.
 */
export class GradientScatter {
  readonly #group: ProcessGroup;
  readonly #pool: BufferPool;
  readonly #shardOf: (parameter: Parameter) => Parameter | null;
  readonly #layouts: readonly BucketLayout[];
  readonly #bucketOf = new Map<Parameter, number>();
  readonly #open: (Filling | undefined)[] = [];
  #next = 0;
  readonly #inFlight: Sent[] = [];

  /** @param parameters those with dense gradients, in the same order on all ranks */
  constructor(
    group: ProcessGroup,
    parameters: readonly Parameter[],
    bucketBytes: number,
    pool: BufferPool,
    shardOf: (parameter: Parameter) => Parameter | null,
  ) {
    this.#group = group;
    this.#pool = pool;
    this.#shardOf = shardOf;
    const sections = { worldSize: group.worldSize };
    this.#layouts = planBuckets(parameters, bucketBytes, 4).map((each) => new BucketLayout(each, sections));
    for (const [i, layout] of this.#layouts.entries())
      for (const parameter of layout.parameters) this.#bucketOf.set(parameter, i);
  }

  /** Takes a gradient that is complete, and sends every bucket whose turn has come. */
  ready(parameter: Parameter): void {
    const bucket = this.#bucketOf.get(parameter);
    // What its bucket has been sent without goes with the next round.
    if (bucket === undefined || bucket < this.#next) return;
    this.#fill(bucket, parameter);
    while (this.#open[this.#next]?.isFull === true) this.#send();
  }

  /** Sends all that is left of this round, with what parameters have in `grad` now. */
  sendRest(): void {
    while (this.#next < this.#layouts.length) {
      for (const parameter of (this.#layouts[this.#next] as BucketLayout).parameters) this.#fill(this.#next, parameter);
      this.#send();
    }
    this.#next = 0;
  }

  /** Blocks until all that was sent has arrived. */
  settle(): void {
    while (this.#inFlight.length > 0) {
      this.#inFlight[0]?.work.waitSync();
      this.#receive();
    }
  }

  /** As `settle`, without blocking. */
  async finish(): Promise<void> {
    while (this.#inFlight.length > 0) {
      await this.#inFlight[0]?.work;
      this.#receive();
    }
  }

  #fill(bucket: number, parameter: Parameter): void {
    const layout = this.#layouts[bucket] as BucketLayout;
    const filling = (this.#open[bucket] ??= new Filling(layout, this.#pool.take('float32', layout.length)));
    filling.put(parameter);
  }

  #send(): void {
    while (this.#inFlight.length >= MAX_IN_FLIGHT) {
      this.#inFlight[0]?.work.waitSync();
      this.#receive();
    }
    const { layout, buffer } = this.#open[this.#next] as Filling;
    this.#open[this.#next++] = undefined;
    const output = this.#pool.take('float32', layout.counts[this.#group.rank] as number);
    const work = this.#group.reduceScatter(buffer, output, 'sum', layout.counts);
    this.#inFlight.push({ layout, buffer, output, work });
  }

  /** Adds what the oldest has brought. */
  #receive(): void {
    const { layout, buffer, output } = this.#inFlight.shift() as Sent;
    for (const [index, parameter] of layout.parameters.entries()) {
      const shard = this.#shardOf(parameter);
      const values = shard === null ? null : layout.get(output, this.#group.rank, index);
      if (shard !== null && values !== null) accumulateGradient(shard, tf.tensor(values, [...shard.shape], 'float32'));
    }
    this.#pool.give(buffer);
    this.#pool.give(output);
  }
}

/** A bucket that gradients go into. */
class Filling {
  readonly #filled = new Set<number>();

  constructor(
    readonly layout: BucketLayout,
    readonly buffer: Float32Array,
  ) {}

  get isFull(): boolean {
    return this.#filled.size === this.layout.parameters.length;
  }

  put(parameter: Parameter): void {
    const index = this.layout.parameters.indexOf(parameter);
    if (this.#filled.has(index)) return;
    const { grad } = parameter;
    this.layout.put(this.buffer, index, grad === null ? null : denseValues(grad));
    parameter.zeroGrad();
    this.#filled.add(index);
  }
}
