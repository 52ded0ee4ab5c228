/** An all-gather of the whole values of some parameters, under way or done. */
import { TensorloomError, type ProcessGroup, type Work } from '@tensorloom/core';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { encode } from '../gradient-exchange/wire-format.ts';
import type { Piece } from './piece.ts';
import { decodeInto, part, type TravelBuffer, type TravelStorage } from './travel.ts';

/** What gatherings need of the strategy. */
export interface GatherContext {
  readonly group: ProcessGroup;
  readonly pool: BufferPool;
  /** What parameters travel as. */
  readonly storage: TravelStorage;
  /** Runs the making of tensors under the precision's storage of parameters. */
  readonly makeTensors: (fn: () => void) => void;
}

/**
 * Each rank's part of the buffer is a label and then its rows of each parameter. Gathers of units of the same size would be taken for
 * each other where ranks run their modules in different orders: the label tells.
 */
export class Gathering {
  readonly #context: GatherContext;
  readonly #pieces: readonly Piece[];
  readonly #label: number;
  readonly #buffer: TravelBuffer;
  readonly #starts: readonly number[];
  readonly #work: Work;

  /** Starts it. @param label below 65,536, the same on all ranks */
  constructor(context: GatherContext, pieces: readonly Piece[], label: number) {
    const { group, pool, storage } = context;
    this.#context = context;
    this.#pieces = pieces;
    this.#label = label;
    const counts = Array.from({ length: group.worldSize }, (_, rank) =>
      pieces.reduce((sum, { partition }) => sum + partition.sizeOf(rank), 1),
    );
    let total = 0;
    this.#starts = counts.map((count) => (total += count) - count);
    this.#buffer = pool.take(storage, total);
    const start = this.#starts[group.rank] as number;
    // For halves this is a bit pattern: nothing is computed with it.
    this.#buffer[start] = label;
    let at = start + 1;
    for (const piece of pieces) {
      encode(this.#buffer, at, piece.shardData());
      at += piece.partition.sizeOf(group.rank);
    }
    const own = part(this.#buffer, start, counts[group.rank] as number);
    this.#work = group.allGather(own, this.#buffer, counts);
  }

  /** Waits, and gives each parameter its whole value. @throws TensorloomError `COLLECTIVE_MISMATCH` if ranks gathered different things */
  finish(): void {
    const { group, pool, storage } = this.#context;
    this.#work.waitSync();
    const strangers = this.#starts.flatMap((start, rank) => (this.#buffer[start] === this.#label ? [] : [rank]));
    if (strangers.length > 0)
      throw new TensorloomError(
        'COLLECTIVE_MISMATCH',
        `Rank ${group.rank} gathered ${this.#pieces[0]?.parameter.name ?? ''} while rank${strangers.length > 1 ? 's' : ''} ${strangers.join(', ')} gathered something else. ` +
          'With fsdp all ranks must run the same modules in the same order.',
      );
    let offsets = this.#starts.map((start) => start + 1);
    this.#context.makeTensors(() => {
      for (const piece of this.#pieces) {
        const { partition } = piece;
        const values = new Float32Array(partition.numRows * partition.rowSize);
        offsets = offsets.map((offset, rank) => {
          const size = partition.sizeOf(rank);
          decodeInto(values, partition.offsetOf(rank), this.#buffer, offset, size, storage);
          return offset + size;
        });
        piece.hold(values);
      }
    });
    pool.give(this.#buffer);
  }

  /** Waits and forgets it. */
  cancel(): void {
    this.#work.waitSync();
    this.#context.pool.give(this.#buffer);
  }
}
