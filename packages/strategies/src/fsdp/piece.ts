/** One parameter of a sharded module on this rank: its shard, and its whole value while it is gathered. */
import { hostValues, TensorloomError, tf, type Parameter, type ShardedValue, type Tensor } from '@tensorloom/core';
import type { RowPartition } from './row-partition.ts';

/** Gathers what a piece is asked for; the unit that it belongs to does. */
export interface PieceReader {
  read(piece: Piece): Tensor;
  readRows(piece: Piece, indices: Int32Array): Float32Array;
}

export class Piece implements ShardedValue {
  /** It is gathered with its unit, and its gradient is dense; not so a table of which only rows are asked for. */
  byValue = true;
  /** Rows of it have been asked for by number. */
  byRows = false;
  /** Its whole value has been asked for. */
  wasRead = false;
  /** The whole value, while it is gathered. */
  tensor: Tensor | null = null;
  readonly #reader: PieceReader;

  constructor(
    readonly parameter: Parameter,
    /** Its place among the module's parameters. */
    readonly index: number,
    readonly partition: RowPartition,
    readonly shard: Parameter | null,
    reader: PieceReader,
  ) {
    this.#reader = reader;
  }

  whole(): Tensor {
    return this.tensor ?? this.#reader.read(this);
  }

  gatherRows(indices: Int32Array): Float32Array {
    return this.#reader.readRows(this, indices);
  }

  /** This rank's rows, row-major, to be read. */
  shardData(): Float32Array {
    const { shard } = this;
    if (shard === null) return new Float32Array(0);
    return shard.onHost ? shard.hostData() : hostValues(shard.value);
  }

  hold(values: Float32Array): void {
    this.tensor = tf.keep(tf.tensor(values, [...this.partition.shape], 'float32'));
  }

  /** Frees the whole value. */
  free(): void {
    this.tensor?.dispose();
    this.tensor = null;
  }

  /** Bytes of the whole value while it is gathered. */
  get gatheredBytes(): number {
    return this.tensor === null ? 0 : 4 * this.tensor.size;
  }

  dispose(): void {
    this.free();
    this.shard?.dispose();
  }
}

/** The refusal of a read where the other ranks are not known to read the same. */
export function readOutside({ parameter }: Piece, worldSize: number): TensorloomError {
  return new TensorloomError(
    'MISUSE',
    `Parameter ${parameter.name} was read outside forward and backward. It is sharded over ${worldSize} ranks, and gathering it takes all of them: ` +
      'read it in withWholeModule, which all ranks call, or save a checkpoint.',
  );
}
