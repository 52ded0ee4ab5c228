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
}

/** A tensor in a file (or in memory) that is read only when asked for, so that a large model is never held twice. */
export interface StoredTensor {
  readonly shape: readonly number[];
  read(): HostTensor;
}

/** A snapshot on its way back. */
export interface StoredState {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly values: JsonObject;
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
