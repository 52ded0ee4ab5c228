/** The batches of one epoch for one rank, in order and from any position on: what `DataLoader` iterates over. */
import { isIterableDataSet, type DataSet, type IterableDataSet, type MapDataSet } from './data-set.ts';
import type { Sampler } from '../samplers/sampler.ts';
import { partOfRound, roundSize, type RoundPart, type RoundPlan } from './rounds.ts';

/**
 * Makes a batch of items.
 * @param counted how many of them count: all, or none where the last items of an epoch do not reach all ranks and this one repeats an
 *   item to stay in step with the others
 */
export type Collate<Item, Batch> = (items: Item[], counted: number) => Batch | Promise<Batch>;

export interface BatchPlan<Item, Batch> extends RoundPlan {
  readonly dataSet: DataSet<Item>;
  readonly sampler: Sampler | undefined;
  readonly collate: Collate<Item, Batch>;
}

/** A batch on its way: its promise is running already. */
export interface StartedBatch<Batch> {
  readonly batch: Promise<Batch>;
  /** Items of the epoch's order, over all ranks, that are used up with this batch. */
  readonly consumed: number;
}

/** Starts this rank's batches of `epoch` one by one, from item `consumed` of the order on. Pulling an entry starts its work. */
export async function* startBatches<Item, Batch>(
  plan: BatchPlan<Item, Batch>,
  epoch: number,
  consumed: number,
): AsyncGenerator<StartedBatch<Batch>> {
  const rounds = isIterableDataSet(plan.dataSet)
    ? streamRounds(plan, plan.dataSet, epoch, consumed)
    : indexedRounds(plan, plan.dataSet, epoch, consumed);
  let position = consumed;
  for await (const { size, take } of rounds) {
    position += size;
    const part = partOfRound(size, plan);
    if (part === null) continue;
    const batch = take(part).then((items) => plan.collate(items, part.counted));
    // The consumer may be busy, or gone, when this fails: it gets the error when it awaits, and the process must not end before.
    batch.catch(() => {});
    yield { batch, consumed: position };
  }
}

/** One batch for each rank. */
interface Round<Item> {
  readonly size: number;
  readonly take: (part: RoundPart) => Promise<Item[]>;
}

function* indexedRounds<Item, Batch>(
  plan: BatchPlan<Item, Batch>,
  dataSet: MapDataSet<Item>,
  epoch: number,
  consumed: number,
): Generator<Round<Item>> {
  const order = (plan.sampler as Sampler).indices(epoch);
  const full = roundSize(plan);
  for (let start = consumed; start < order.length; start += full)
    yield {
      size: Math.min(full, order.length - start),
      take: ({ from, to }) =>
        Promise.all(Array.from({ length: to - from }, async (_, i) => dataSet.get(order[start + from + i] as number))),
    };
}

/** Every rank reads the whole stream, and keeps its own items. */
async function* streamRounds<Item, Batch>(
  plan: BatchPlan<Item, Batch>,
  dataSet: IterableDataSet<Item>,
  epoch: number,
  consumed: number,
): AsyncGenerator<Round<Item>> {
  const full = roundSize(plan);
  let toSkip = consumed;
  let items: Item[] = [];
  const round = (all: Item[]): Round<Item> => ({ size: all.length, take: async ({ from, to }) => all.slice(from, to) });
  for await (const item of dataSet.iterate(epoch)) {
    if (toSkip > 0) {
      toSkip--;
      continue;
    }
    items.push(item);
    if (items.length < full) continue;
    yield round(items);
    items = [];
  }
  if (items.length > 0) yield round(items);
}
