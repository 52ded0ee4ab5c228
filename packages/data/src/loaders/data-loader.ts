/** Draws items from a data set in a sampler's order, batches them ahead of the consumer, and can go on exactly where it was. */
import {
  TensorloomError,
  type JsonObject,
  type LoadOptions,
  type StateDict,
  type Stateful,
  type StoredState,
} from '@tensorloom/core';
import { RandomSampler, SequentialSampler, type Sampler } from '../samplers/sampler.ts';
import { startBatches, type BatchPlan, type Collate } from './batches.ts';
import { isIterableDataSet, type DataSet } from './data-set.ts';
import { PrefetchQueue } from './prefetch-queue.ts';
import { batchesIn, type Share } from './rounds.ts';

/** Options of `DataLoader`. */
export interface DataLoaderOptions<Item, Batch> {
  /** Items per batch (the micro-batch size), default 1. */
  readonly batchSize?: number;
  /** Makes a batch of items; default: the array of them. */
  readonly collate?: Collate<Item, Batch>;
  /** The order; excludes `shuffle`. Not for iterable data sets. */
  readonly sampler?: Sampler;
  /** Shorthand for a `RandomSampler` (default false: in order). */
  readonly shuffle?: boolean;
  /** Seed of `shuffle` (default 0). */
  readonly seed?: number;
  /** Leave out a last batch that is not full (default false); among ranks in training, a last round that does not fill a batch on each. */
  readonly dropLast?: boolean;
  /** How many batches are made ahead of the consumer (default 2; 0 for none). */
  readonly prefetch?: number;
  /** What of it is for this rank (default: all); set by `shard`. */
  readonly share?: Share;
}

/**
 * One pass of `for await` is one epoch. A finished pass moves on to the next epoch; `setEpoch` chooses one.
 * `stateDict` counts the items of the epoch's order that were *delivered* to the consumers of all ranks, however many are prefetched: after
 * `loadStateDict` the next pass starts with the very next one. It is the same on all ranks, and means the same to any number of them.
 * Loading the state of a finished epoch that has not moved on yet gives an empty pass.
 */
export class DataLoader<Item, Batch = Item[]> implements AsyncIterable<Batch>, Stateful {
  readonly dataSet: DataSet<Item>;
  readonly batchSize: number;
  readonly dropLast: boolean;
  readonly prefetch: number;
  readonly collate: Collate<Item, Batch>;
  readonly sampler: Sampler | undefined;
  readonly #share: Share;
  #epoch = 0;
  #consumed = 0;
  #resumeAt = 0;
  #isLastBatch = false;

  /** @throws TensorloomError `BAD_OPTION`, `CONFLICTING_OPTIONS` */
  constructor(dataSet: DataSet<Item>, options: DataLoaderOptions<Item, Batch> = {}) {
    this.dataSet = dataSet;
    this.batchSize = options.batchSize ?? 1;
    this.dropLast = options.dropLast ?? false;
    this.prefetch = options.prefetch ?? 2;
    this.collate = options.collate ?? ((items) => items as Batch);
    this.#share = options.share ?? { rank: 0, worldSize: 1, training: false };
    if (!Number.isInteger(this.batchSize) || this.batchSize < 1)
      throw new TensorloomError(
        'BAD_OPTION',
        `DataLoader: batchSize ${this.batchSize}; expected a whole number of at least 1.`,
      );
    if (!Number.isInteger(this.prefetch) || this.prefetch < 0)
      throw new TensorloomError(
        'BAD_OPTION',
        `DataLoader: prefetch ${this.prefetch}; expected a whole number of at least 0.`,
      );
    this.sampler = chooseSampler(dataSet, options);
  }

  /** Batches per epoch on this rank; undefined for a stream. */
  get length(): number | undefined {
    return this.sampler === undefined ? undefined : batchesIn(this.sampler.length, this.#plan());
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Items of the current epoch's order that the consumers of all ranks have got. */
  get itemsConsumed(): number {
    return this.#consumed;
  }

  /** Whether the batch delivered last is the last of its epoch: where a partial accumulation window must be closed. */
  get isLastBatch(): boolean {
    return this.#isLastBatch;
  }

  /** Chooses the epoch of the next pass. The current epoch keeps a position that was loaded; any other starts at its first batch. */
  setEpoch(epoch: number): void {
    if (!Number.isInteger(epoch) || epoch < 0)
      throw new TensorloomError('BAD_OPTION', `DataLoader: epoch ${epoch}; expected a whole number of at least 0.`);
    if (epoch !== this.#epoch) this.#moveTo(epoch, 0);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    const epoch = this.#epoch;
    this.#moveTo(epoch, this.#resumeAt);
    const queue = new PrefetchQueue(startBatches(this.#plan(), epoch, this.#consumed));
    this.#resumeAt = 0;
    this.#isLastBatch = false;
    // A stream shows its end only when one more is asked for, so that one batch is always looked ahead for `isLastBatch`.
    const ahead = Math.max(this.prefetch, this.sampler === undefined ? 1 : 0);
    try {
      for (;;) {
        await queue.fill(1);
        const current = queue.take();
        if (current === undefined) break;
        await queue.fill(ahead);
        const batch = await current.batch;
        this.#consumed = current.consumed;
        this.#isLastBatch = this.sampler === undefined ? queue.isExhausted : this.#isThrough();
        yield batch;
      }
      const wasLast = this.#isLastBatch;
      this.#moveTo(epoch + 1, 0);
      this.#isLastBatch = wasLast;
    } finally {
      await queue.close();
    }
  }

  /**
   * A loader over the share of one rank, in the same state of iteration (epoch, no position). Of each round of `worldSize` batches of this
   * loader, each rank gets one: together they get the very batches that one process would. The last round is dealt evenly; where it has
   * fewer items than there are ranks, in training the others repeat an item that does not count (see `Collate`).
   * @throws TensorloomError `BAD_OPTION` unless 0 <= rank < worldSize
   */
  shard(rank: number, worldSize: number, options: { readonly training: boolean }): DataLoader<Item, Batch> {
    if (!Number.isInteger(worldSize) || worldSize < 1 || !Number.isInteger(rank) || rank < 0 || rank >= worldSize)
      throw new TensorloomError(
        'BAD_OPTION',
        `DataLoader: rank ${rank} of world size ${worldSize}; expected 0 <= rank < worldSize.`,
      );
    if (worldSize === 1) return this;
    const share = { rank, worldSize, training: options.training };
    const sharded = new DataLoader<Item, Batch>(this.dataSet, { ...this.#settings(), share });
    sharded.setEpoch(this.#epoch);
    return sharded;
  }

  /** A loader with another order over the same data. */
  withSampler(sampler: Sampler): DataLoader<Item, Batch> {
    return new DataLoader<Item, Batch>(this.dataSet, { ...this.#settings(), sampler });
  }

  stateDict(): StateDict {
    const values: JsonObject = {
      epoch: this.#epoch,
      itemsConsumed: this.#consumed,
      batchSize: this.batchSize,
      items: this.sampler?.length ?? null,
      order: orderOf(this.sampler),
      sampler: this.sampler?.stateDict?.() ?? {},
    };
    return { tensors: {}, values };
  }

  /**
   * The next pass starts with the first item that had not been delivered when `stateDict` was taken, by however many ranks.
   * @throws TensorloomError `BAD_CHECKPOINT` if the state is of a loader with another batch size, number of items or kind of order (unless `strict` is false)
   */
  loadStateDict(state: StoredState, options: LoadOptions = {}): void {
    const { epoch, itemsConsumed, batchSize, items, order, sampler } = state.values;
    if (!isCount(epoch) || !isCount(itemsConsumed))
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `DataLoader: a state with epoch ${JSON.stringify(epoch)} and itemsConsumed ${JSON.stringify(itemsConsumed)}; expected whole numbers.`,
      );
    const ownItems = this.sampler?.length ?? null;
    if (options.strict !== false && (batchSize !== this.batchSize || items !== ownItems))
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `DataLoader: the state is of ${JSON.stringify(items)} items in batches of ${JSON.stringify(batchSize)}, this loader has ${String(ownItems)} in batches of ${this.batchSize}: ` +
          'a position in the one means nothing in the other. Resume with the same data and batch size.',
      );
    if (options.strict !== false && order !== orderOf(this.sampler))
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `DataLoader: the state is of the order ${JSON.stringify(order ?? 'unknown')}, this loader's is ${JSON.stringify(orderOf(this.sampler))}: a position in the one means nothing in the other. Resume with the same sampler.`,
      );
    if (sampler !== null && typeof sampler === 'object' && !Array.isArray(sampler))
      this.sampler?.loadStateDict?.(sampler);
    this.#moveTo(epoch, itemsConsumed);
  }

  #moveTo(epoch: number, consumed: number): void {
    this.#epoch = epoch;
    this.#consumed = consumed;
    this.#resumeAt = consumed;
    this.#isLastBatch = consumed > 0 && this.#isThrough();
  }

  /** No batch of the epoch is left for this rank; false for a stream, of which that is not known. */
  #isThrough(): boolean {
    return this.sampler !== undefined && batchesIn(this.sampler.length - this.#consumed, this.#plan()) === 0;
  }

  #plan(): BatchPlan<Item, Batch> {
    const { dataSet, sampler, batchSize, dropLast, collate } = this;
    return { dataSet, sampler, batchSize, dropLast, collate, share: this.#share };
  }

  #settings(): DataLoaderOptions<Item, Batch> {
    const { batchSize, dropLast, collate, prefetch, sampler } = this;
    const share = this.#share;
    return { batchSize, dropLast, collate, prefetch, share, ...(sampler === undefined ? {} : { sampler }) };
  }
}

/** The kind of a sampler's order, by its class; null for a stream. */
function orderOf(sampler: Sampler | undefined): string | null {
  return sampler?.constructor.name ?? null;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

function chooseSampler<Item, Batch>(
  dataSet: DataSet<Item>,
  options: DataLoaderOptions<Item, Batch>,
): Sampler | undefined {
  if (isIterableDataSet(dataSet)) {
    if (options.sampler !== undefined || options.shuffle === true)
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        'DataLoader: an iterable data set has its own order; leave out sampler and shuffle, or give a data set with length and get.',
      );
    return undefined;
  }
  if (options.sampler !== undefined && options.shuffle !== undefined)
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      'DataLoader: sampler and shuffle both choose the order; give one of them.',
    );
  if (options.sampler !== undefined) return options.sampler;
  return options.shuffle === true
    ? new RandomSampler(dataSet.length, { seed: options.seed ?? 0 })
    : new SequentialSampler(dataSet.length);
}
