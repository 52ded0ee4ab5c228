/** Rows of a parameter that every rank has as a whole: what this rank's optimizer updates. */
import { hostValues, Parameter, tf, zeros, type Tensor } from '@tensorloom/core';
import { rowSize, rowsOf, shardRows } from './shard-rows.ts';

/**
 * Holds no value of its own but in the middle of a step: its rows are read from the whole, and the strategy brings what they become
 * back to the wholes of all ranks. Rows of a table in host memory are changed there in place.
 */
export class ReplicaShard extends Parameter {
  readonly whole: Parameter;
  readonly firstRow: number;
  #held: Tensor | null = null;

  constructor(whole: Parameter, firstRow: number, rows: number) {
    const shape = whole.shape.length === 0 ? [] : [rows, ...whole.shape.slice(1)];
    super(zeros(shape), { firstRow, wholeShape: whole.shape });
    // The base has noted the shape; its value is not needed.
    super.dispose();
    this.whole = whole;
    this.firstRow = firstRow;
    this.name = whole.name;
    this.storage = whole.storage;
    // Freezing the whole freezes its shards.
    Object.defineProperty(this, 'requiresGrad', { get: () => whole.requiresGrad });
  }

  override get value(): Tensor {
    return (this.#held ??= tf.keep(
      tf.tidy(() =>
        this.whole.onHost
          ? tf.tensor(this.#part(this.whole.hostData()).slice(), [...this.shape], 'float32')
          : this.shape.length === 0
            ? this.whole.value.clone()
            : tf.slice(this.whole.value, this.firstRow, this.shape[0]),
      ),
    ));
  }

  override assign(next: Tensor): void {
    tf.util.assertShapesMatch([...this.shape], next.shape, `Shard of ${this.name}: `);
    if (this.#held !== next) this.#held?.dispose();
    this.#held = tf.keep(next);
  }

  override get onHost(): boolean {
    return this.#held === null && this.whole.onHost;
  }

  override get pinnedToDevice(): boolean {
    return super.pinnedToDevice || this.whole.pinnedToDevice;
  }

  override hostData(): Float32Array {
    return this.#part(this.whole.hostData());
  }

  override updateOnHost(update: (data: Float32Array) => void): void {
    this.whole.updateOnHost((data) => update(this.#part(data)));
  }

  /** The rows as they are now, in host memory; not to be changed. */
  values(): Float32Array {
    if (this.#held !== null) return hostValues(this.#held);
    return this.#part(this.whole.onHost ? this.whole.hostData() : hostValues(this.whole.value));
  }

  /** The step is over and the wholes have the new rows. */
  release(): void {
    this.#held?.dispose();
    this.#held = null;
  }

  override dispose(): void {
    super.dispose();
    this.release();
  }

  #part(data: Float32Array): Float32Array {
    const from = this.firstRow * rowSize(this.whole.shape);
    return data.subarray(from, from + this.size);
  }
}

/** This rank's shard of `whole`; null if it has none of its rows. */
export function makeReplicaShard(whole: Parameter, rank: number, worldSize: number): ReplicaShard | null {
  const { firstRow, rows } = shardRows(rowsOf(whole.shape), rank, worldSize);
  return rows === 0 ? null : new ReplicaShard(whole, firstRow, rows);
}
