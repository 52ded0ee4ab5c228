/** Collective communication among ranks, over typed arrays in host memory. Semantics follow MPI-3 and NCCL. */

/** How the elements of all ranks become one. */
export type ReduceOp = 'sum' | 'mean' | 'max' | 'min' | 'product';
/** What collectives carry. */
export type CollectiveArray = Float32Array | Float64Array | Int32Array | Uint8Array;

/** All calls are made by all ranks in the same order; each settles when this rank's part is done. */
export interface ProcessGroup {
  readonly rank: number;
  readonly worldSize: number;
  /** In place. */
  allReduce(data: CollectiveArray, op: ReduceOp): Promise<void>;
  /** `[n]` on each rank → `[worldSize × n]`, by rank. */
  allGather<T extends CollectiveArray>(data: T): Promise<T>;
  /** In place, from `source`'s data. */
  broadcast(data: CollectiveArray, source: number): Promise<void>;
  /** Any JSON-like value from `source` to all. */
  broadcastObject<T>(value: T, source: number): Promise<T>;
  /** One JSON-like value of each rank, by rank. */
  allGatherObject<T>(value: T): Promise<T[]>;
  /** @param name for the message if it fails */
  barrier(name?: string): Promise<void>;
  /** Makes every pending and later call of every rank fail with `reason`. */
  abort(reason: string): void;
  close(): Promise<void>;
}
