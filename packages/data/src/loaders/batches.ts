/** The batches of one epoch, in order and from any position on: what `DataLoader` iterates over. */
import { isIterableDataSet, type DataSet, type IterableDataSet, type MapDataSet } from './data-set.ts';
import type { Sampler } from '../samplers/sampler.ts';

export interface BatchPlan<Item, Batch> {
  readonly dataSet: DataSet<Item>;
  readonly sampler: Sampler | undefined;
  readonly batchSize: number;
  readonly dropLast: boolean;
  readonly collate: (items: Item[]) => Batch | Promise<Batch>;
  readonly share: StreamShare | undefined;
}

/** The share of a stream that one rank sees. */
export interface StreamShare {
  readonly rank: number;
  readonly worldSize: number;
  readonly training: boolean;
}

/** A batch on its way. Made eagerly: its promise is already running. */
export type PendingBatch<Batch> = Promise<Batch>;

/** Starts the batches of `epoch` one by one, leaving out the first `skip`. Pulling an entry starts its work; awaiting it finishes it. */
export async function* startBatches<Item, Batch>(
  plan: BatchPlan<Item, Batch>,
  epoch: number,
  skip: number,
): AsyncGenerator<{ readonly batch: PendingBatch<Batch> }> {
  const groups = isIterableDataSet(plan.dataSet)
    ? streamGroups(plan, plan.dataSet, epoch, skip)
    : indexedGroups(plan, plan.dataSet, epoch, skip);
  for await (const group of groups) {
    const batch = group().then(plan.collate);
    // The consumer may be busy, or gone, when this fails: it gets the error when it awaits, and the process must not end before.
    batch.catch(() => {});
    yield { batch };
  }
}

type Group<Item> = () => Promise<Item[]>;

function* indexedGroups<Item, Batch>(
  plan: BatchPlan<Item, Batch>,
  dataSet: MapDataSet<Item>,
  epoch: number,
  skip: number,
): Generator<Group<Item>> {
  const order = (plan.sampler as Sampler).indices(epoch);
  for (let start = skip * plan.batchSize; start < order.length; start += plan.batchSize) {
    const end = Math.min(start + plan.batchSize, order.length);
    if (end - start < plan.batchSize && plan.dropLast) return;
    yield () =>
      Promise.all(Array.from({ length: end - start }, async (_, i) => dataSet.get(order[start + i] as number)));
  }
}

async function* streamGroups<Item, Batch>(
  plan: BatchPlan<Item, Batch>,
  dataSet: IterableDataSet<Item>,
  epoch: number,
  skip: number,
): AsyncGenerator<Group<Item>> {
  let toSkip = skip * plan.batchSize;
  let items: Item[] = [];
  for await (const item of shareOf(dataSet.iterate(epoch), plan.share)) {
    if (toSkip > 0) {
      toSkip--;
      continue;
    }
    items.push(item);
    if (items.length === plan.batchSize) {
      const full = items;
      items = [];
      yield async () => full;
    }
  }
  if (items.length > 0 && !plan.dropLast) yield async () => items;
}

/** Every worldSize-th item. In training a last round that does not reach all ranks is left out, so that the ranks stay in step. */
async function* shareOf<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
  share: StreamShare | undefined,
): AsyncGenerator<Item> {
  let position = 0;
  let held: { item: Item } | undefined;
  for await (const item of items) {
    const turn = share === undefined ? 0 : position % share.worldSize;
    position++;
    if (share === undefined || (turn === share.rank && !share.training)) yield item;
    else if (share.training) {
      if (turn === share.rank) held = { item };
      if (turn === share.worldSize - 1 && held !== undefined) {
        yield held.item;
        held = undefined;
      }
    }
  }
}
