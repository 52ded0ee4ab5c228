/** Gradients of a module summed over all ranks: in buckets during backward, tables by their rows after it. */
import { bytesPerElement, type Parameter, type ProcessGroup } from '@tensorloom/core';
import { allocateBucket, type Bucket } from '../gradient-exchange/bucket.ts';
import { BucketLayout } from '../gradient-exchange/bucket-layout.ts';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { setDenseGradient } from '../gradient-exchange/gradient-values.ts';
import { planBuckets } from '../gradient-exchange/plan-buckets.ts';
import { sumTables } from '../gradient-exchange/row-sums.ts';
import { findTables } from '../gradient-exchange/table-names.ts';
import { elementTypeFor, type Compression } from '../gradient-exchange/wire-format.ts';

export interface GradientAllReduceOptions {
  readonly bucketBytes: number;
  readonly compression: Compression;
}

/**
 * Every rank makes the same calls, so buckets start in one order whatever becomes ready first: a bucket waits for those before it.
 * Each parameter's own gradient stays in `grad` until `finish` puts the sum there.
 */
export class GradientAllReduce {
  readonly #group: ProcessGroup;
  readonly #parameters: readonly Parameter[];
  readonly #options: GradientAllReduceOptions;
  readonly #pool: BufferPool;
  /** Parameters whose gradients are row-sparse, by name. Null until a window has shown which. */
  #tableNames: readonly string[] | null = null;
  #plan: Plan | null = null;
  #launched = 0;
  #finished = false;

  /**
   * @param parameters of one module, in the same order on all ranks
   * @param pool for tables; buckets have buffers of their own
   */
  constructor(
    group: ProcessGroup,
    parameters: readonly Parameter[],
    options: GradientAllReduceOptions,
    pool: BufferPool,
  ) {
    this.#group = group;
    this.#parameters = parameters;
    this.#options = options;
    this.#pool = pool;
  }

  get tableNames(): readonly string[] | null {
    return this.#tableNames;
  }

  /** Sets what a stored window had shown. */
  set tableNames(names: readonly string[] | null) {
    this.settle();
    this.#tableNames = names;
    this.#plan = null;
    this.#launched = 0;
  }

  /** Of buckets. */
  get bytes(): number {
    return this.#plan?.buckets.reduce((sum, bucket) => sum + bucket.bytes, 0) ?? 0;
  }

  /** Whether buckets may start during backward: once it is known which parameters are tables. */
  get canOverlap(): boolean {
    return this.tableNames !== null;
  }

  /** Forgets what was sent, after waiting for it: its result has not been taken, and more is to come. */
  begin(): void {
    if (this.#launched > 0 && !this.#finished) this.settle();
    this.#launched = 0;
    this.#finished = false;
    for (const bucket of this.#plan?.buckets ?? []) bucket.reset();
    if (this.canOverlap) this.#planned();
  }

  /** Blocks until what is under way has ended. */
  settle(): void {
    for (const bucket of this.#plan?.buckets ?? []) bucket.work?.waitSync();
  }

  /** Takes a gradient that is complete, and starts every bucket whose turn has come. @param factor what it travels multiplied with */
  ready(parameter: Parameter, factor: number): void {
    const bucket = this.#planned().bucketOf.get(parameter);
    if (bucket === undefined) return;
    bucket.put(parameter, factor);
    this.#launchFull();
  }

  /** Starts all buckets that have not been started, with what their parameters have in `grad` now. */
  launchRest(factor: number): void {
    for (const bucket of this.#planned().buckets.slice(this.#launched)) bucket.putRest(factor);
    this.#launchFull();
  }

  /**
   * Sees that everything has been sent, then puts the sums into `grad` of those of `parameters` that are this module's.
   * @param factor as `ready`'s
   */
  async finish(parameters: ReadonlySet<Parameter>, factor: number): Promise<void> {
    this.#tableNames ??= findTables(this.#group, this.#parameters);
    this.launchRest(factor);
    const { buckets, tables } = this.#planned();
    for (const { work } of buckets) await work;
    this.#finished = true;
    for (const { layout, buffer } of buckets)
      for (const [index, parameter] of layout.parameters.entries())
        if (parameters.has(parameter)) setDenseGradient(parameter, layout.get(buffer, 0, index, 1 / factor));
    const chosen = tables.filter((table) => parameters.has(table));
    await sumTables(this.#group, chosen, this.#pool, this.#options.compression, factor);
  }

  #launchFull(): void {
    const { buckets } = this.#planned();
    for (let bucket = buckets[this.#launched]; bucket?.isFull; bucket = buckets[++this.#launched])
      bucket.work = this.#group.allReduce(bucket.buffer, 'sum');
  }

  /** The plan for the parameters that are trainable now. */
  #planned(): Plan {
    const trainable = this.#parameters.filter(({ requiresGrad }) => requiresGrad);
    if (this.#launched > 0 || this.#plan?.isFor(trainable) === true) return this.#plan as Plan;
    const tableNames = new Set(this.tableNames);
    const type = elementTypeFor(this.#options.compression);
    const dense = trainable.filter(({ name }) => !tableNames.has(name));
    const buckets = planBuckets(dense, this.#options.bucketBytes, bytesPerElement(type)).map((parameters) =>
      allocateBucket(this.#group, new BucketLayout(parameters, 'one'), type),
    );
    const tables = trainable.filter(({ name }) => tableNames.has(name));
    return (this.#plan = new Plan(trainable, buckets, tables));
  }
}

class Plan {
  readonly bucketOf = new Map<Parameter, Bucket>();

  constructor(
    readonly parameters: readonly Parameter[],
    readonly buckets: readonly Bucket[],
    readonly tables: readonly Parameter[],
  ) {
    for (const bucket of buckets)
      for (const parameter of bucket.layout.parameters) this.bucketOf.set(parameter, bucket);
  }

  isFor(parameters: readonly Parameter[]): boolean {
    return parameters.length === this.parameters.length && parameters.every((each, i) => each === this.parameters[i]);
  }
}
