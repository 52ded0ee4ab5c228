/** Where the gradients of several parameters lie in one buffer, so that one collective carries them all. */
import type { CollectiveArray, Parameter } from '@tensorloom/core';
import { rowSize, rowsOf, shardRows } from '../shards/shard-rows.ts';
import { decode, encode } from './wire-format.ts';

/** One section for all ranks, or one for each rank with its rows of every parameter. */
export type Sections = 'one' | { readonly worldSize: number };

/** A contiguous part of a parameter in the buffer. */
interface Piece {
  /** Of the first element in the buffer, and in the parameter. */
  readonly offset: number;
  readonly from: number;
  readonly length: number;
}

/**
 * Each section holds its pieces one after the other, then one flag per parameter: above zero in the sum if any rank has a gradient.
 * A parameter without a gradient on any rank must keep none, for an optimizer moves by a zero gradient too.
 */
export class BucketLayout {
  /** Elements of the whole buffer, and of each section. */
  readonly length: number;
  readonly counts: readonly number[];
  /** By section, then by parameter. */
  readonly #pieces: readonly (readonly Piece[])[];
  readonly #flags: readonly number[];

  constructor(
    readonly parameters: readonly Parameter[],
    sections: Sections,
  ) {
    const worldSize = sections === 'one' ? 1 : sections.worldSize;
    const counts: number[] = [];
    const flags: number[] = [];
    let offset = 0;
    this.#pieces = Array.from({ length: worldSize }, (_, rank) => {
      const start = offset;
      const pieces = parameters.map(({ shape }) => {
        const { firstRow, rows } = shardRows(rowsOf(shape), rank, worldSize);
        const piece = { offset, from: firstRow * rowSize(shape), length: rows * rowSize(shape) };
        offset += piece.length;
        return piece;
      });
      flags.push(offset);
      offset += parameters.length;
      counts.push(offset - start);
      return pieces;
    });
    this.length = offset;
    this.counts = counts;
    this.#flags = flags;
  }

  /** Puts the whole of parameter `index` into the buffer; null for a rank without a gradient. */
  put(buffer: CollectiveArray, index: number, values: Float32Array | null, factor = 1): void {
    for (const [section, pieces] of this.#pieces.entries()) {
      const { offset, from, length } = pieces[index] as Piece;
      if (values === null) buffer.fill(0, offset, offset + length);
      else encode(buffer, offset, values.subarray(from, from + length), factor);
      encode(buffer, (this.#flags[section] as number) + index, Float32Array.of(values === null ? 0 : 1));
    }
  }

  /**
   * What `section` holds of parameter `index`, or null if no rank had a gradient.
   * @param data the buffer, or that section alone
   */
  get(data: CollectiveArray, section: number, index: number, factor = 1): Float32Array<ArrayBuffer> | null {
    const { offset, length } = this.#pieces[section]?.[index] as Piece;
    const start = data.length === this.length ? 0 : (this.#pieces[section]?.[0] as Piece).offset;
    const flag = decode(data, (this.#flags[section] as number) + index - start, 1)[0] as number;
    return flag > 0 ? decode(data, offset - start, length, factor) : null;
  }

  /** Puts a rank's own rows of parameter `index` into its section alone. */
  putSection(own: Float32Array, section: number, index: number, rows: Float32Array): void {
    const pieces = this.#pieces[section] as readonly Piece[];
    own.set(rows, (pieces[index] as Piece).offset - (pieces[0] as Piece).offset);
  }

  /** The whole of parameter `index` from all sections. */
  whole(buffer: Float32Array, index: number): Float32Array<ArrayBuffer> {
    const values = new Float32Array((this.parameters[index] as Parameter).size);
    for (const pieces of this.#pieces) {
      const { offset, from, length } = pieces[index] as Piece;
      values.set(buffer.subarray(offset, offset + length), from);
    }
    return values;
  }
}
