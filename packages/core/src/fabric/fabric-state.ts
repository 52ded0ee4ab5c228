/** Fabric's checkpoints, and the whole of what ranks hold in parts. */
import type { ProcessGroup } from '../distributed/process-group.ts';
import type { Module } from '../modules/module.ts';
import { globalRandom } from '../random.ts';
import type { Json, Stateful, StoredState } from '../stateful.ts';
import type { HeldBytes } from '../strategies/strategy.ts';
import { onAllRanks } from '../checkpoints/on-all-ranks.ts';
import { collect, everything, restore, type CheckpointState, type SaveFilter } from './checkpointing.ts';
import { isFabricOptimizer } from './fabric-optimizer.ts';
import { FabricServices } from './fabric-services.ts';
import type { FabricOptions } from './options.ts';
import { randomOfRank } from './random-of-rank.ts';
import { SetUpRegistry } from './set-up-registry.ts';
import { TrainingSteps } from './training-steps.ts';
import { storedStateOf } from './whole-module.ts';

/** Options of `fabric.load`. */
export interface LoadCheckpointOptions {
  /** Refuse checkpoints that lack a key of `state`, or whose names differ (default true). */
  readonly strict?: boolean;
  /** Restore Fabric's own state too: loss scale, open window, random numbers, counts (default: if `state` has an optimizer). */
  readonly restoreProgress?: boolean;
}

export class FabricState extends FabricServices {
  protected readonly steps: TrainingSteps;
  protected readonly known = new SetUpRegistry();

  constructor(options: FabricOptions = {}) {
    super(options);
    this.steps = new TrainingSteps(this.strategy, this.precision.lossScaler, this.options.maxSkippedSteps);
  }

  /**
   * Writes a checkpoint folder, as a whole or not at all: modules, optimizers and other Statefuls (set up or not), JSON values, and what Fabric itself needs to go on exactly.
   * All ranks call it, each with its own `state`: ranks write their shards side by side, and of what they have alike, and of JSON values, rank zero's is stored.
   * @param options.filter by key: which entries of a state dict to keep
   */
  async save(folder: string, state: CheckpointState, options: { readonly filter?: SaveFilter } = {}): Promise<void> {
    this.assertLaunched('save');
    const content = await this.#onAll(`collecting what to save in ${folder}`, () =>
      collect(state, this.#ownPieces(), options.filter),
    );
    await this.connections.checkpointIO.saveCheckpoint(folder, content, this.#severalRanks);
  }

  /**
   * Restores into `state`: Statefuls in place, JSON values by replacing its members. Returns what else the checkpoint holds.
   * All ranks call it; the checkpoint may be one of another strategy and of another number of ranks.
   * @throws TensorloomError `BAD_CHECKPOINT` if it is incomplete, damaged or of something else, naming every difference
   */
  async load(
    folder: string,
    state: CheckpointState,
    options: LoadCheckpointOptions = {},
  ): Promise<Record<string, Json | StoredState>> {
    this.assertLaunched('load');
    const own = options.restoreProgress ?? Object.values(state).some(isFabricOptimizer);
    const checkpoint = await this.connections.checkpointIO.openCheckpoint(folder, this.#severalRanks);
    return this.#onAll(`loading ${folder}`, () =>
      restore(checkpoint, state, this.#ownPieces(), { strict: options.strict ?? true, own }),
    );
  }

  /** Everything in a checkpoint, for inspection; tensors are read when asked for. Needs no launch, and no other rank. */
  async loadRaw(folder: string): Promise<Record<string, Json | StoredState>> {
    return everything(await this.connections.checkpointIO.openCheckpoint(folder));
  }

  /**
   * Gives `write` the whole module, whatever each rank holds of it, on rank zero: for files of other formats. Tensors are there when
   * they are read, one at a time, until `write` has ended. All ranks call it; if `write` fails, all of them fail. Returns what
   * `write` does, on the other ranks undefined.
   * @throws TensorloomError `NOT_LAUNCHED`, `NOT_SET_UP`
   */
  async withWholeModule<T>(model: Module, write: (state: StoredState) => Promise<T>): Promise<T | undefined> {
    this.assertLaunched('withWholeModule');
    const module = this.known.moduleBehind(model, 'withWholeModule');
    if (this.strategy.withWholeModule !== undefined) return this.strategy.withWholeModule(module, write);
    return this.#onAll('writing the whole module', async () =>
      this.isGlobalZero ? write(storedStateOf(module)) : undefined,
    );
  }

  /** Bytes that this rank holds of what was set up; undefined for strategies that do not count them. */
  heldBytes(): HeldBytes | undefined {
    this.assertLaunched('heldBytes');
    return this.strategy.heldBytes?.();
  }

  get #severalRanks(): ProcessGroup | undefined {
    return this.worldSize === 1 ? undefined : this.processGroup;
  }

  /** `work`'s result, if it succeeds on all ranks. */
  async #onAll<T>(what: string, work: () => Promise<T> | T): Promise<T> {
    const results: T[] = [];
    await onAllRanks(this.#severalRanks, what, async () => {
      results.push(await work());
    });
    return results[0] as T;
  }

  #ownPieces(): Record<string, Stateful> {
    return {
      lossScaler: this.precision.lossScaler,
      strategy: this.strategy,
      random: randomOfRank(globalRandom(), { rank: this.globalRank, worldSize: this.worldSize }),
      progress: this.steps,
    };
  }
}
