/** Whole gradients on their way to the shards: reduce-scatters under way, and exchanges of rows. */
import { accumulateGradient, RowSparse, tf, type ProcessGroup, type Work } from '@tensorloom/core';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { denseValues } from '../gradient-exchange/gradient-values.ts';
import { encode } from '../gradient-exchange/wire-format.ts';
import type { Piece } from './piece.ts';
import { exchangeRowGradients } from './table-rows.ts';
import { decodeInto, type TravelBuffer, type TravelStorage } from './travel.ts';

interface Underway {
  readonly divisor: number;
  readonly work: Work;
  readonly pieces: readonly Piece[];
  readonly sent: TravelBuffer;
  readonly received: TravelBuffer;
}

/** Reduce-scatters that may be under way while the walk goes on; each holds a buffer of a unit's size. */
const MOST_UNDERWAY = 1;

/** Adds the whole gradients of all ranks into the shards' gradients, and frees them. All ranks call it alike. */
export class GradientScatter {
  readonly #group: ProcessGroup;
  readonly #pool: BufferPool;
  readonly #storage: TravelStorage;
  readonly #underway: Underway[] = [];

  constructor(group: ProcessGroup, pool: BufferPool, storage: TravelStorage) {
    this.#group = group;
    this.#pool = pool;
    this.#storage = storage;
  }

  /**
   * Starts a reduction of dense gradients, in the background where the group can. A piece without a gradient counts as zeros.
   * @param items of all ranks: gradients are sums over them, which would be too large for float16
   */
  start(pieces: readonly Piece[], items: number): void {
    if (pieces.length === 0) return;
    this.#settleTo(MOST_UNDERWAY - 1);
    const { worldSize, rank } = this.#group;
    // Each part begins with one flag per parameter: some rank had a gradient. Without any, the shard's stays as it is, null for instance.
    const counts = Array.from({ length: worldSize }, (_, to) =>
      pieces.reduce((sum, { partition }) => sum + partition.sizeOf(to), pieces.length),
    );
    const sent = this.#pool.take(
      this.#storage,
      counts.reduce((sum, count) => sum + count, 0),
    );
    const divisor = this.#divisor(items);
    this.#fill(sent, counts, pieces, divisor);
    const received = this.#pool.take(this.#storage, counts[rank] as number);
    const work = this.#group.reduceScatter(sent, received, 'sum', counts);
    this.#underway.push({ work, pieces, sent, received, divisor });
  }

  /** Exchanges the row-sparse gradients of a table, at once. */
  exchange({ parameter, partition, shard }: Piece, items: number): void {
    const { grad } = parameter;
    const rows = exchangeRowGradients(this.#group, partition, grad instanceof RowSparse ? grad : null, {
      storage: this.#storage,
      divisor: this.#divisor(items),
      pool: this.#pool,
    });
    parameter.zeroGrad();
    if (rows === null) return;
    if (shard === null) rows.dispose();
    else accumulateGradient(shard, rows);
  }

  /** Waits for all that is under way. */
  settle(): void {
    this.#settleTo(0);
  }

  #settleTo(most: number): void {
    while (this.#underway.length > most) this.#finish(this.#underway.shift() as Underway);
  }

  #divisor(items: number): number {
    return this.#storage === 'float16' ? Math.max(items, 1) : 1;
  }

  #fill(sent: TravelBuffer, counts: readonly number[], pieces: readonly Piece[], divisor: number): void {
    let start = 0;
    const offsets = counts.map((count) => (start += count) - count);
    const flags = Float32Array.from(pieces, ({ parameter }) => (parameter.grad === null ? 0 : 1));
    for (const offset of offsets) encode(sent, offset, flags);
    const at = offsets.map((offset) => offset + pieces.length);
    for (const { parameter, partition } of pieces) {
      const { grad } = parameter;
      const values = grad === null ? null : denseValues(grad);
      for (const [to, offset] of at.entries()) {
        const size = partition.sizeOf(to);
        if (values === null) sent.fill(0, offset, offset + size);
        else {
          const from = partition.offsetOf(to);
          encode(sent, offset, values.subarray(from, from + size), 1 / divisor);
        }
        at[to] = offset + size;
      }
      parameter.zeroGrad();
    }
  }

  #finish({ work, pieces, sent, received, divisor }: Underway): void {
    work.waitSync();
    const { rank } = this.#group;
    let at = pieces.length;
    for (const [i, { partition, shard }] of pieces.entries()) {
      const size = partition.sizeOf(rank);
      if (shard !== null && received[i] !== 0) {
        const values = new Float32Array(size);
        decodeInto(values, 0, received, at, size, this.#storage, divisor);
        accumulateGradient(shard, tf.tensor(values, partition.shapeOf(rank), 'float32'));
      }
      at += size;
    }
    this.#pool.give(sent);
    this.#pool.give(received);
  }
}
