/** What a loader can draw from: data sets with random access, and streams. */
type Awaitable<T> = T | Promise<T>;

/** Random access: any item by its index, in 0..length-1. */
export interface MapDataSet<Item> {
  readonly length: number;
  get(index: number): Awaitable<Item>;
}

/** A stream, of unknown length. Each call starts it anew; the same epoch must give the same items in the same order, else a run cannot be resumed exactly. */
export interface IterableDataSet<Item> {
  iterate(epoch: number): Iterable<Item> | AsyncIterable<Item>;
}

/** What a loader draws from. */
export type DataSet<Item> = MapDataSet<Item> | IterableDataSet<Item>;

/** Whether it is a stream. */
export function isIterableDataSet<Item>(dataSet: DataSet<Item>): dataSet is IterableDataSet<Item> {
  return 'iterate' in dataSet;
}
