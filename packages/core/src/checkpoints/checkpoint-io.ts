/** Where checkpoints go: a folder by default, anything else by a user's plugin. */
import type { JsonObject, StateDict, StoredState } from '../stateful.ts';

/** What one checkpoint holds. */
export interface CheckpointContent {
  /** Modules, optimizers, schedules, loaders … by the user's key; Fabric's own pieces under names that begin with `fabric.`. */
  readonly statefuls: Readonly<Record<string, StateDict>>;
  /** Everything else. */
  readonly values: JsonObject;
}

/** A checkpoint that has been checked and can be read; tensors are read one at a time, when asked for. */
export interface OpenedCheckpoint {
  readonly statefuls: ReadonlyMap<string, StoredState>;
  readonly values: JsonObject;
}

/** Writes, opens and removes checkpoints; `path` means whatever the implementation makes of it. */
export interface CheckpointIO {
  /** Writes the checkpoint as a whole or not at all. */
  saveCheckpoint(path: string, content: CheckpointContent): Promise<void>;
  /** @throws TensorloomError `BAD_CHECKPOINT` if it is incomplete or corrupted */
  openCheckpoint(path: string): Promise<OpenedCheckpoint>;
  removeCheckpoint(path: string): Promise<void>;
}
