/** Which rows of a parameter each rank keeps. */
import { rowSize, rowsOf, shardRows } from '../shards/shard-rows.ts';

/** Rows along the first axis, shared out in ranks' order; the last ranks may have fewer, or none. A scalar is one row. */
export class RowPartition {
  readonly numRows: number;
  /** Elements of a row. */
  readonly rowSize: number;

  constructor(
    readonly shape: readonly number[],
    readonly worldSize: number,
  ) {
    this.numRows = rowsOf(shape);
    this.rowSize = rowSize(shape);
  }

  firstRow(rank: number): number {
    return shardRows(this.numRows, rank, this.worldSize).firstRow;
  }

  rowsOf(rank: number): number {
    return shardRows(this.numRows, rank, this.worldSize).rows;
  }

  /** Elements of the rank's rows. */
  sizeOf(rank: number): number {
    return this.rowsOf(rank) * this.rowSize;
  }

  /** Elements before the rank's rows. */
  offsetOf(rank: number): number {
    return this.firstRow(rank) * this.rowSize;
  }

  /** Elements of each rank's rows, by rank. */
  get counts(): number[] {
    return Array.from({ length: this.worldSize }, (_, rank) => this.sizeOf(rank));
  }

  /** Shape of the rank's rows. */
  shapeOf(rank: number): number[] {
    return this.shape.length === 0 ? [] : [this.rowsOf(rank), ...this.shape.slice(1)];
  }

  /** The rank that keeps a row. */
  ownerOf(row: number): number {
    return Math.floor(row / this.rowsOf(0));
  }
}
