/** The loader that `fabric.setupDataLoader` returns: this rank's share, moved to the device, freed batch by batch. */
import { toDevice, type OnDevice } from '../host-tensor.ts';
import type { LoadOptions, StateDict, Stateful, StoredState } from '../stateful.ts';
import { isTensor, type Tensor } from '../tensors.ts';

/** What Fabric makes use of where a loader has it; any iterable will do. */
export interface LoaderAbilities {
  /** A loader over this rank's share. */
  shard(rank: number, worldSize: number, options: { readonly training: boolean }): AsyncIterable<unknown>;
  setEpoch(epoch: number): void;
  /** A loader that counts epochs itself needs no `setEpoch` on each pass. */
  readonly epoch: number;
  readonly isLastBatch: boolean;
  readonly length: number | undefined;
  readonly batchSize: number;
}

/** Any iterable of batches, with as many of the abilities as it has. */
export type AnyLoader<Batch> = (AsyncIterable<Batch> | Iterable<Batch>) & Partial<LoaderAbilities> & Partial<Stateful>;

/** Passes so far, beside the inner loader's own values. */
const passesKey = 'fabricPasses';

export interface DataLoaderHooks {
  readonly moveToDevice: boolean;
  /** A batch goes to the loop; true if it is the last of its pass. */
  delivered(loader: object, isLastBatch: boolean): void;
  /** The pass is over, or was broken off. */
  ended(loader: object): void;
  /** Ahead of each pass, on all ranks; throws if it cannot be run. */
  begins?(): Promise<void>;
  /** After each pass, also one that the loop has broken off; not if the loader itself failed. */
  join?(): Promise<void>;
}

/**
 * One pass of `for await` is one epoch. A batch's tensors live until the next batch is asked for. `stateDict` is the inner
 * loader's, as of the batch delivered last.
 */
export class FabricDataLoader<Batch> implements AsyncIterable<OnDevice<Batch>>, Stateful {
  /** The loader behind, after sharding. */
  readonly inner: AnyLoader<Batch>;
  readonly #hooks: DataLoaderHooks;
  #passes = 0;
  #isLastBatch = false;
  /** The inner loader's state before it was asked for one batch more than the loop has seen. */
  #stateBeforeLookAhead: StateDict | undefined;

  constructor(inner: AnyLoader<Batch>, hooks: DataLoaderHooks) {
    this.inner = inner;
    this.#hooks = hooks;
  }

  /** Batches per pass on this rank, where the loader knows. */
  get length(): number | undefined {
    return this.inner.length;
  }

  /** Whether the batch delivered last is the last of its pass. */
  get isLastBatch(): boolean {
    return this.#isLastBatch;
  }

  /** Chooses the epoch of the next pass, where the loader has epochs. */
  setEpoch(epoch: number): void {
    this.#passes = epoch;
    this.inner.setEpoch?.(epoch);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OnDevice<Batch>, void, undefined> {
    if (this.#countsEpochs) this.inner.setEpoch?.(this.#passes);
    this.#stateBeforeLookAhead = undefined;
    await this.#hooks.begins?.();
    let loaderFailed = false;
    let moved: Tensor[] = [];
    const free = (): void => {
      for (const tensor of moved) tensor.dispose();
      moved = [];
    };
    try {
      for await (const { batch, isLast } of this.#batches()) {
        free();
        const onDevice = (this.#hooks.moveToDevice ? toDevice(batch) : batch) as OnDevice<Batch>;
        moved = this.#hooks.moveToDevice ? newTensors(onDevice, batch) : [];
        this.#isLastBatch = isLast;
        this.#hooks.delivered(this, isLast);
        yield onDevice;
      }
      this.#passes++;
      this.#stateBeforeLookAhead = undefined;
    } catch (error) {
      loaderFailed = true;
      throw error;
    } finally {
      // A loop that is left early has not seen the batch looked ahead for: the state from before it stays.
      free();
      this.#hooks.ended(this);
      if (!loaderFailed) await this.#hooks.join?.();
    }
  }

  stateDict(): StateDict {
    const inner = this.#stateBeforeLookAhead ?? this.inner.stateDict?.();
    if (inner === undefined) return { tensors: {}, values: { [passesKey]: this.#passes } };
    return this.#countsEpochs ? { ...inner, values: { ...inner.values, [passesKey]: this.#passes } } : inner;
  }

  loadStateDict(state: StoredState, options?: LoadOptions): void {
    const passes = state.values[passesKey];
    if (typeof passes === 'number') this.#passes = passes;
    this.#stateBeforeLookAhead = undefined;
    this.inner.loadStateDict?.(withoutPasses(state), options);
  }

  /** Whether the inner loader has epochs but leaves counting them to its user. */
  get #countsEpochs(): boolean {
    return this.inner.epoch === undefined && this.inner.setEpoch !== undefined;
  }

  /** Each batch with the word whether it is the last: from the loader, else by looking one ahead. */
  async *#batches(): AsyncGenerator<{ batch: Batch; isLast: boolean }, void, undefined> {
    const inner = this.inner;
    if (inner.isLastBatch !== undefined) {
      for await (const batch of inner) yield { batch, isLast: inner.isLastBatch ?? false };
      return;
    }
    let held: { batch: Batch } | undefined;
    let stateAfterHeld: StateDict | undefined;
    const snapshot = (): StateDict | undefined => inner.stateDict?.();
    for await (const batch of inner) {
      if (held !== undefined) {
        this.#stateBeforeLookAhead = stateAfterHeld;
        yield { batch: held.batch, isLast: false };
      }
      held = { batch };
      stateAfterHeld = snapshot();
    }
    this.#stateBeforeLookAhead = stateAfterHeld;
    if (held !== undefined) yield { batch: held.batch, isLast: true };
  }
}

/** The inner loader's own state. */
function withoutPasses({ byRank, ...state }: StoredState): StoredState {
  const { [passesKey]: _passes, ...values } = state.values;
  return { ...state, values, ...(byRank && { byRank: byRank.map(withoutPasses) }) };
}

/** Tensors in `moved` that were not in `original`: those made by moving. */
function newTensors(moved: unknown, original: unknown): Tensor[] {
  const before = new Set(tensorsIn(original));
  return tensorsIn(moved).filter((tensor) => !before.has(tensor));
}

/** Every tensor of a nested collection of arrays and plain objects. */
export function tensorsIn(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    return Object.values(value).flatMap(tensorsIn);
  return [];
}
