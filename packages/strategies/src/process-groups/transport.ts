/** What moves the bytes of a process group: one implementation per medium beside this file. */
import type { CollectiveCall } from './collective-call.ts';

/**
 * Carries out calls, one at a time, in order, in a thread that may block. A call's arrays are views of memory that the
 * calling thread does not touch meanwhile. `execute` checks that all ranks make the same call (`mismatch`), and fails with
 * the codes that `ProcessGroup` lists; after a failure the transport is unusable and every later call fails alike.
 */
export interface Transport {
  /** Of the medium: `shm`, `ws`, `mpi`, or composed: `shm+ws`. */
  readonly name: string;
  /** In this transport's group. */
  readonly rank: number;
  readonly worldSize: number;
  execute(call: CollectiveCall): Promise<void> | void;
  /**
   * A transport for some of the ranks (in this group's numbering), or null on the others. All ranks call it, in order with `execute`.
   * @param id unique among the groups of this job, the same on all ranks
   */
  split(ranks: readonly number[], id: string): Promise<Transport | null>;
  /** Tells the other ranks, and makes everything pending and later fail with `ABORTED` and `reason`. */
  abort(reason: string): void;
  /** Leaves in good order: the other ranks do not take it for a failure. Removes what it made on disk. */
  close(): Promise<void>;
}

/** What every transport is made from; plain data, so that it can be sent to a thread. */
export interface TransportRequest {
  readonly rank: number;
  readonly worldSize: number;
  readonly localRank: number;
  readonly localWorldSize: number;
  readonly nodeRank: number;
  readonly numNodes: number;
  readonly mainAddress: string;
  readonly mainPort: number;
  readonly jobId: string;
  readonly token: string | undefined;
  readonly collectiveTimeoutMs: number;
  readonly rankTimeoutMs: number;
  /** Of the medium, checked already. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** Meets the other ranks. @throws TensorloomError `RANK_LOST`, `TIMEOUT`, `UNSUPPORTED` */
export type TransportFactory = (request: TransportRequest) => Promise<Transport>;
