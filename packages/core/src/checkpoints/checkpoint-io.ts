/** Where checkpoints go: a folder by default, anything else by a user's plugin. */
import type { ProcessGroup } from '../distributed/process-group.ts';
import type { JsonObject, StateDict, StoredState } from '../stateful.ts';

/** What one checkpoint holds. Of several ranks, each gives its own: same keys, its shards, and what is shared alike on all. */
export interface CheckpointContent {
  /** Modules, optimizers, schedules, loaders … by the user's key; Fabric's own pieces under names that begin with `fabric.`. */
  readonly statefuls: Readonly<Record<string, StateDict>>;
  /** Everything else. Rank zero's is stored. */
  readonly values: JsonObject;
}

/** A checkpoint that has been checked and can be read; tensors are read one at a time, when asked for, shards joined. */
export interface OpenedCheckpoint {
  readonly statefuls: ReadonlyMap<string, StoredState>;
  readonly values: JsonObject;
}

/**
 * Writes, opens and removes checkpoints; `path` means whatever the implementation makes of it. With a `group`, all its ranks make the
 * same call, and it succeeds on all or fails on all; without one, the caller is alone.
 */
export interface CheckpointIO {
  /** Writes the checkpoint as a whole or not at all. */
  saveCheckpoint(path: string, content: CheckpointContent, group?: ProcessGroup): Promise<void>;
  /** Opens what a world of any size has written. @throws TensorloomError `BAD_CHECKPOINT` if it is incomplete or corrupted */
  openCheckpoint(path: string, group?: ProcessGroup): Promise<OpenedCheckpoint>;
  /** Called by one rank. */
  removeCheckpoint(path: string): Promise<void>;
}
