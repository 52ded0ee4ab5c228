/** What a checkpoint stores: every stateful piece turns into named tensors plus JSON values, and back. */
import type { HostTensor } from './host-tensor.ts';
import type { Tensor } from './tensors.ts';

/** What JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** An object that JSON can hold. */
export type JsonObject = { [key: string]: Json };

/** A snapshot: `tensors` are live references (the writer reads them one at a time), `values` are a copy. */
export interface StateDict {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly values: JsonObject;
  /**
   * Names of those `tensors` that are this rank's rows only: all ranks' pieces, in the order of ranks, joined along the first axis are
   * the whole. A rank without the name has no rows.
   */
  readonly shards?: ReadonlySet<string>;
  /**
   * `shared` (default): what is no shard is the same on all ranks, and rank zero's is stored (the others may leave tensors out).
   * `rank`: tensors and values are each rank's own (random generators, open windows) and all are stored.
   */
  readonly scope?: 'shared' | 'rank';
}

/** A tensor in a file (or in memory) that is read only when asked for, so that a large model is never held twice. */
export interface StoredTensor {
  readonly shape: readonly number[];
  read(): HostTensor;
  /** Rows `from` to `to` (exclusive) along the first axis, without reading the rest. */
  readRows(from: number, to: number): HostTensor;
}

/** A snapshot on its way back. */
export interface StoredState {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly values: JsonObject;
  /**
   * Where each rank stored its own (`StateDict.scope`): all of them, by rank. The fields above are this rank's then, or, in a world of
   * another size, rank zero's.
   */
  readonly byRank?: readonly StoredState[];
}

/** Options of `loadStateDict`. */
export interface LoadOptions {
  /** Refuse missing and unexpected names (default true), naming each. */
  readonly strict?: boolean;
}

/** Modules, optimizers, schedules, loaders, loss scalers and random generators are all of this kind. */
export interface Stateful {
  stateDict(): StateDict;
  loadStateDict(state: StoredState, options?: LoadOptions): void;
}
