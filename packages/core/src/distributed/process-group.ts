/** Collective communication among ranks, over typed arrays in host memory. Semantics follow MPI-3 and NCCL. */

/** How the elements of all ranks become one. */
export type ReduceOp = 'sum' | 'mean' | 'max' | 'min' | 'product';

/** Bit patterns of IEEE half-precision numbers. Collectives reduce them as numbers, summing in float32. */
export class Float16Bits extends Uint16Array<ArrayBufferLike> {}
/** Bit patterns of bfloat16 numbers. Collectives reduce them as numbers, summing in float32. */
export class BFloat16Bits extends Uint16Array<ArrayBufferLike> {}

/** What collectives carry. */
export type CollectiveArray = Float32Array | Float64Array | Int32Array | Uint8Array | Float16Bits | BFloat16Bits;
/** The element types of `CollectiveArray`. */
export type ElementType = 'float32' | 'float64' | 'int32' | 'uint8' | 'float16' | 'bfloat16';

/** The array class of each element type. */
export interface ArrayOf {
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  readonly int32: Int32Array;
  readonly uint8: Uint8Array;
  readonly float16: Float16Bits;
  readonly bfloat16: BFloat16Bits;
}

/**
 * A collective under way. `await` it, or block the thread with `waitSync`, as a collective in the middle of a synchronous
 * forward or backward must. Its arrays may not be touched until then. Whoever drops it must still wait for a later one of
 * the same group: failures are told there too.
 */
export interface Work extends PromiseLike<void> {
  /** Finished, well or badly. */
  readonly isDone: boolean;
  /** Blocks until it is done. @throws what awaiting it would */
  waitSync(): void;
}

/**
 * A fixed set of ranks that communicate. All ranks of a group make the same calls in the same order; each `Work` ends when
 * this rank's part is done. Calls are carried out in the order in which they were made, in the background where the
 * implementation can.
 *
 * Failures are TensorloomErrors: `COLLECTIVE_MISMATCH` (ranks called different things: names them), `RANK_LOST` (a rank died,
 * was cut off or does not answer: names it), `TIMEOUT` (a rank did not come: names it), `ABORTED`. After one of them the
 * group is unusable. Arguments that are wrong in themselves are `BAD_OPTION` at the call.
 */
export interface ProcessGroup {
  /** `single`, `local`, `shm`, `ws`, `mpi`, or what a hierarchy is made of: `shm+ws`. */
  readonly name: string;
  /** This process's rank in this group. */
  readonly rank: number;
  readonly worldSize: number;
  /** Ranks of the members in the world, by rank in this group. */
  readonly globalRanks: readonly number[];

  /** An array, zero-filled, in memory that this group's collectives use without a copy. Any other array works too. */
  allocate<E extends ElementType>(type: E, length: number): ArrayOf[E];

  /** In place. `mean` needs floating point. */
  allReduce(data: CollectiveArray, op: ReduceOp): Work;
  /**
   * Reduces `input` and leaves each rank its part in `output`.
   * @param counts elements of each rank's part, by rank; default: equal parts
   */
  reduceScatter(input: CollectiveArray, output: CollectiveArray, op: ReduceOp, counts?: readonly number[]): Work;
  /**
   * Each rank's `input`, by rank, in every rank's `output`. `input` may be this rank's part of `output` itself.
   * @param counts elements of each rank's input, by rank; default: all as many as this rank's
   */
  allGather(input: CollectiveArray, output: CollectiveArray, counts?: readonly number[]): Work;
  /** In place, from `source`'s data. */
  broadcast(data: CollectiveArray, source: number): Work;
  /** As `allGather`, on rank `destination` only; the others give null for `output`. */
  gather(input: CollectiveArray, output: CollectiveArray | null, destination: number, counts?: readonly number[]): Work;
  /** The parts of `source`'s `input`, one to each rank's `output`; the others give null for `input`. */
  scatter(input: CollectiveArray | null, output: CollectiveArray, source: number, counts?: readonly number[]): Work;
  /**
   * Part i of `input` goes to rank i; part i of `output` comes from rank i.
   * @param sendCounts elements to each rank; default: equal parts
   * @param receiveCounts elements from each rank; default: equal parts
   */
  allToAll(
    input: CollectiveArray,
    output: CollectiveArray,
    sendCounts?: readonly number[],
    receiveCounts?: readonly number[],
  ): Work;
  /** To one rank, which must call `receive` with the same length, type and tag. May end before it is received. */
  send(data: CollectiveArray, destination: number, tag?: number): Work;
  /** In place. */
  receive(data: CollectiveArray, source: number, tag?: number): Work;
  /** Ends when all ranks have called it. @param name for the message if it fails */
  barrier(name?: string): Work;

  /** Any JSON-like value (also with typed arrays) from `source` to all. */
  broadcastObject<T>(value: T, source: number): Promise<T>;
  /** One JSON-like value of each rank, by rank. */
  allGatherObject<T>(value: T): Promise<T[]>;
  /** As `allGatherObject`, on rank `destination` only; null on the others. */
  gatherObject<T>(value: T, destination: number): Promise<T[] | null>;

  /**
   * A group of some of these ranks. All ranks of this group call it, also those that are not in it, which get null.
   * @param ranks ranks in this group, in the order of their ranks in the new one
   */
  split(ranks: readonly number[]): Promise<ProcessGroup | null>;

  /** Makes every pending and later call of every rank fail with `reason` (code `ABORTED`). Safe to call more than once. */
  abort(reason: string): void;
  /** Ends this rank's part in good order, after pending work. */
  close(): Promise<void>;
}

/** The element type of an array. Bits of halves are told by their class. */
export function elementTypeOf(data: CollectiveArray): ElementType {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Float64Array) return 'float64';
  if (data instanceof Int32Array) return 'int32';
  if (data instanceof Uint8Array) return 'uint8';
  return data instanceof BFloat16Bits ? 'bfloat16' : 'float16';
}

/** An array of `type` over memory that exists. */
export function viewOf<E extends ElementType>(
  type: E,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): ArrayOf[E] {
  return new constructors[type](buffer, byteOffset, length) as ArrayOf[E];
}

/** Bytes per element. */
export function bytesPerElement(type: ElementType): number {
  return constructors[type].BYTES_PER_ELEMENT;
}

const constructors = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  float16: Float16Bits,
  bfloat16: BFloat16Bits,
} as const;

/** Work that is done already. */
export function finishedWork(): Work {
  return {
    isDone: true,
    waitSync: () => {},
    then: (...handlers) => Promise.resolve().then(...handlers),
  };
}

/** Work that has failed. */
export function failedWork(error: unknown): Work {
  return {
    isDone: true,
    waitSync: () => {
      throw error;
    },
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- passed on as it came
    then: (...handlers) => Promise.reject(error).then(...handlers),
  };
}
