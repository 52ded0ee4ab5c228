/** A trainable tensor with its gradient. Its value lives on the device, in host memory (embedding tables), or in shards on all ranks. */
import type { FloatStorage } from '../accelerators/accelerator.ts';
import type { RowSparse } from '../autograd/row-sparse.ts';
import { isTapeOn } from '../autograd/tape.ts';
import { TensorloomError } from '../errors.ts';
import type { HostTensor } from '../host-tensor.ts';
import { hostView } from '../host-view.ts';
import { labelMemory } from '../memory-label.ts';
import type { StoredTensor } from '../stateful.ts';
import type { Tensor } from '../tensors.ts';
import { tf } from '../tensors.ts';
import type { ShardedValue, ShardPlacement } from './sharded-value.ts';

/** A gradient is dense, or, for embedding tables, the rows that occurred. Its values are sums over items (see Strategy). */
export type Gradient = Tensor | RowSparse;

/**
 * A large embedding table is read and updated a few rows at a time, and tfjs's tensors are immutable: replacing a few
 * rows on a stock backend copies the whole table. `embeddingLookup` therefore moves a table to host memory, where rows
 * are gathered and updated in place; `value` puts it on the device only when something asks for the whole of it. Where a
 * backend's tensors lie in host memory themselves, the table stays where it is and is changed there.
 *
 * A strategy may shard a parameter (`shardBy`): it keeps its shape, `value` gathers the whole from all ranks, and updates
 * and checkpoints go to the shards.
 */
export class Parameter {
  /** Where gradients land; `null` until the first backward and after `zeroGrad`. Owned by the parameter. */
  grad: Gradient | null = null;
  /** `false` freezes it: no gradient is computed, optimizers leave it alone. */
  requiresGrad = true;
  /** What the value is stored as; a table in host memory is float32 there, with values that such a storage has. */
  storage: FloatStorage = 'float32';
  /** Full name in the module tree (`transformer.h.0.mlp.dense_h_to_4h.weight`), set when the module is set up or walked. */
  name = '';
  readonly shape: readonly number[];
  readonly size: number;
  #device: Tensor | null;
  #host: Float32Array | null = null;
  /** Whether `#host` is the memory of `#device`. */
  #hostIsView = false;
  #handle: Tensor | null = null;
  #pinned = false;
  #source: ShardedValue | null = null;
  /** Gathered tensors that the tape being recorded has seen. */
  readonly #gatheredIds = new Set<number>();

  /**
   * Takes ownership of `value`, float32.
   * @param placement what part of a larger parameter it is, if it is one
   */
  constructor(
    value: Tensor,
    readonly placement: ShardPlacement | null = null,
  ) {
    this.shape = [...value.shape];
    this.size = value.size;
    this.#device = labelMemory(tf.keep(value), 'parameter');
  }

  /** The current value; do not dispose. Valid until the next update of the parameter; if it is sharded, until the end of the forward or backward. */
  get value(): Tensor {
    if (this.#source !== null) {
      const whole = this.#source.whole();
      if (isTapeOn()) this.#gatheredIds.add(whole.id);
      return whole;
    }
    if (this.#device === null) {
      if (this.#host === null)
        throw new TensorloomError('MISUSE', `Parameter ${this.name} was used after it had been disposed.`);
      // A copy: some backends would share the array, and a clone that someone keeps must not change with it.
      const value = tf.keep(tf.tensor(this.#host.slice(), [...this.shape], 'float32'));
      this.#device = labelMemory(value, 'parameter');
    }
    return this.#device;
  }

  /** Replaces the value (same shape), taking ownership of `next` and freeing the old one. The value is on the device then. */
  assign(next: Tensor): void {
    this.#refuseIfSharded('assigned');
    tf.util.assertShapesMatch([...this.shape], next.shape, `Parameter ${this.name}: `);
    const previous = this.#device;
    this.#device = labelMemory(tf.keep(next), 'parameter');
    this.#host = null;
    if (previous !== next) previous?.dispose();
  }

  /** Whether this is some rows of a larger parameter (a shard of a scalar is all of it). */
  get isRows(): boolean {
    return this.placement !== null && this.placement.wholeShape.length > 0;
  }

  /** Copies a stored whole into the value; a shard reads its own rows only. */
  load(stored: StoredTensor): void {
    const { data, dtype } = this.readStored(stored);
    this.assign(tf.tensor(data, [...this.shape], dtype));
  }

  /** What a tensor that is stored as a whole has at the place of this parameter. */
  readStored(stored: StoredTensor): HostTensor {
    if (this.placement === null || !this.isRows) return stored.read();
    const { firstRow } = this.placement;
    return stored.readRows(firstRow, firstRow + (this.shape[0] as number));
  }

  /** Whether the value lives in host memory (`value` works all the same). */
  get onHost(): boolean {
    return this.#host !== null;
  }

  /** Keeps the value on the device from now on: for tables that are also used as a whole, such as a tied head's. */
  pinToDevice(): void {
    this.#pinned = true;
  }

  get pinnedToDevice(): boolean {
    return this.#pinned;
  }

  /** The value in host memory, row-major, to be read. Moves it there. */
  hostData(): Float32Array {
    this.#refuseIfSharded('moved to host memory');
    if (this.#host === null) {
      const value = this.value;
      this.#host = hostView(value);
      this.#hostIsView = this.#host !== null;
      if (this.#host === null) {
        // A copy: some backends hand out the array that the tensor was made from, which may have other owners.
        this.#host = value.dataSync<'float32'>().slice();
        this.#device = null;
        value.dispose();
      }
    }
    return this.#host;
  }

  /** Moves the value to host memory and lets `update` change it in place. */
  updateOnHost(update: (data: Float32Array) => void): void {
    let data = this.hostData();
    // A clone of the tensor that someone keeps must not change with it.
    if (this.#hostIsView && hostView(this.value) === null) {
      data = this.#host = data.slice();
      this.#hostIsView = false;
    }
    if (!this.#hostIsView) {
      this.#device?.dispose();
      this.#device = null;
    }
    update(data);
  }

  /**
   * From here on `source` has the value; the one held so far is freed. A gradient stays.
   * @throws TensorloomError `MISUSE` if it is sharded already
   */
  shardBy(source: ShardedValue): void {
    this.#refuseIfSharded('sharded');
    this.#device?.dispose();
    this.#device = this.#host = null;
    this.#source = source;
  }

  /** Where the value comes from if it is sharded. */
  get sharding(): ShardedValue | null {
    return this.#source;
  }

  /** Stands for a value in host memory or on other ranks on tfjs's tape, where only tensors can. */
  get tapeHandle(): Tensor {
    this.#handle ??= tf.keep(tf.scalar(0));
    return this.#handle;
  }

  /** Ids of the tensors that are this parameter on tfjs's tape: of a sharded one, all that were gathered since `forgetTape`. */
  get tapeIds(): number[] {
    const held = [this.#device, this.#handle].flatMap((tensor) => (tensor === null ? [] : [tensor.id]));
    return [...held, ...this.#gatheredIds];
  }

  /** The tape is done with. */
  forgetTape(): void {
    this.#gatheredIds.clear();
  }

  zeroGrad(): void {
    this.grad?.dispose();
    this.grad = null;
  }

  dispose(): void {
    this.zeroGrad();
    this.#device?.dispose();
    this.#handle?.dispose();
    this.#device = this.#handle = this.#host = null;
    this.#source?.dispose();
    this.#gatheredIds.clear();
  }

  #refuseIfSharded(what: string): void {
    if (this.#source !== null)
      throw new TensorloomError(
        'MISUSE',
        `Parameter ${this.name} is sharded, so it cannot be ${what} as a whole. Change it through its shard (the optimizer's), or by loadStateDict.`,
      );
  }
}
