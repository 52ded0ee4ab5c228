/** How `zero1` and `zero2` bring gradients to the ranks that keep their rows, and agree on a window. */
import { gradientNorm, type Module, type Parameter, type ProcessGroup, type WindowTotals } from '@tensorloom/core';
import type { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import type { GradientExchange, Overlap } from '../gradient-exchange/exchanging-strategy.ts';
import { findTables } from '../gradient-exchange/table-names.ts';
import { agreeOnTotals, anyRank, globalNorm } from '../gradient-exchange/totals.ts';
import { makeReplicaShard, type ReplicaShard } from '../shards/replica-shard.ts';
import { GradientScatter } from './gradient-scatter.ts';
import { scatterTables } from './row-scatter.ts';

interface ZeroExchangeOptions {
  readonly bucketBytes: number;
  /** Gradients leave after every micro-batch, not only when the window closes. */
  readonly reduceEachMicroBatch: boolean;
}

/** What is known of one module. */
interface ModuleState {
  readonly parameters: readonly Parameter[];
  tableNames: readonly string[] | null;
  scatter: GradientScatter | null;
  /** What `scatter` was made for. */
  trainable: readonly Parameter[];
  /** Everything that backward has left has been sent. */
  sent: boolean;
}

export class ZeroExchange implements GradientExchange {
  readonly #group: ProcessGroup;
  readonly #options: ZeroExchangeOptions;
  readonly #pool: BufferPool;
  readonly #modules = new Map<Module, ModuleState>();
  readonly #shards = new Map<Parameter, ReplicaShard | null>();

  constructor(group: ProcessGroup, options: ZeroExchangeOptions, pool: BufferPool) {
    this.#group = group;
    this.#options = options;
    this.#pool = pool;
  }

  get rank(): number {
    return this.#group.rank;
  }

  get worldSize(): number {
    return this.#group.worldSize;
  }

  get bytes(): number {
    return this.#pool.bytes;
  }

  addModule(module: Module): void {
    // What two modules share is the first one's.
    const parameters = module.parameters().filter((parameter) => !this.#shards.has(parameter));
    for (const parameter of parameters)
      this.#shards.set(parameter, makeReplicaShard(parameter, this.rank, this.worldSize));
    this.#modules.set(module, { parameters, tableNames: null, scatter: null, trainable: [], sent: true });
  }

  /** This rank's rows of a parameter; null if it has none. */
  replicaShardOf(parameter: Parameter): ReplicaShard | null {
    return this.#shards.get(parameter) ?? null;
  }

  get shards(): ReplicaShard[] {
    return [...this.#shards.values()].flatMap((shard) => (shard === null ? [] : [shard]));
  }

  shardOf(parameter: Parameter): { readonly parameter: Parameter; readonly firstRow: number } | null {
    const shard = this.replicaShardOf(parameter);
    return shard === null ? null : { parameter: shard, firstRow: shard.firstRow };
  }

  isTable(parameter: Parameter): boolean {
    return [...this.#modules.values()].some(
      ({ parameters, tableNames }) => parameters.includes(parameter) && tableNames?.includes(parameter.name) === true,
    );
  }

  begin(module: Module): void {
    const state = this.#modules.get(module);
    if (state !== undefined) state.sent = false;
  }

  overlap(module: Module, closes: boolean): Overlap | null {
    const state = this.#modules.get(module);
    if (state === undefined || !(closes || this.#options.reduceEachMicroBatch)) return null;
    // Until the first gradients have shown which parameters are tables, nothing can leave before the end.
    const scatter = state.tableNames === null ? null : this.#scatterOf(state);
    return {
      hooks: scatter === null ? {} : { onParameterReady: (parameter) => scatter.ready(parameter) },
      end: () => this.#sendRest(state),
    };
  }

  async reduce(_parameters: readonly Parameter[], items: number, discard: boolean): Promise<WindowTotals> {
    const totals = await agreeOnTotals(this.#group, items, discard);
    for (const state of this.#modules.values()) {
      if (!state.sent) this.#sendRest(state);
      await state.scatter?.finish();
      const tables = state.parameters.filter(
        ({ name, requiresGrad }) => requiresGrad && state.tableNames?.includes(name),
      );
      await scatterTables(this.#group, tables, this.#pool, (table) => this.replicaShardOf(table));
    }
    return totals;
  }

  agree(discard: boolean): Promise<boolean> {
    return anyRank(this.#group, discard);
  }

  norm(parameters: readonly Parameter[], normType: number): Promise<number> {
    return globalNorm(this.#group, gradientNorm(parameters, normType), normType);
  }

  settle(): void {
    for (const { scatter } of this.#modules.values()) scatter?.settle();
  }

  get tableNames(): readonly (readonly string[] | null)[] {
    return [...this.#modules.values()].map(({ tableNames }) => tableNames);
  }

  set tableNames(names: readonly (readonly string[] | null)[]) {
    for (const [i, state] of [...this.#modules.values()].entries()) {
      state.tableNames = names[i] ?? null;
      state.scatter = null;
      // A window that was stored may hold gradients that have not been sent.
      state.sent = false;
    }
  }

  #sendRest(state: ModuleState): void {
    state.tableNames ??= findTables(this.#group, state.parameters);
    this.#scatterOf(state).sendRest();
    state.sent = true;
  }

  /** For the parameters that are trainable now. */
  #scatterOf(state: ModuleState): GradientScatter {
    const trainable = state.parameters.filter(({ requiresGrad }) => requiresGrad);
    const isSame = trainable.length === state.trainable.length && trainable.every((p, i) => p === state.trainable[i]);
    if (state.scatter !== null && isSame) return state.scatter;
    state.scatter?.settle();
    state.trainable = trainable;
    const dense = trainable.filter(({ name }) => state.tableNames?.includes(name) !== true);
    return (state.scatter = new GradientScatter(
      this.#group,
      dense,
      this.#options.bucketBytes,
      this.#pool,
      (parameter) => this.replicaShardOf(parameter),
    ));
  }
}
