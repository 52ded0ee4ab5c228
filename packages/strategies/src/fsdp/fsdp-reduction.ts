/** How `fsdp` finishes a window: what is whole still goes to the shards; items, skipped steps and norms are agreed on. */
import {
  gradientNorm,
  RowSparse,
  type Parameter,
  type ProcessGroup,
  type Reduction,
  type Shard,
  type WindowTotals,
} from '@tensorloom/core';
import { anyRank, globalNorm } from '../gradient-exchange/totals.ts';
import type { GradientScatter } from './gradient-scatter.ts';
import type { Piece } from './piece.ts';
import type { ShardedModule } from './sharded-module.ts';

export class FsdpReduction implements Reduction {
  readonly #group: ProcessGroup;
  readonly #scatter: GradientScatter;
  readonly #modules: readonly ShardedModule[];

  /** @param modules grows as modules are set up */
  constructor(group: ProcessGroup, scatter: GradientScatter, modules: readonly ShardedModule[]) {
    this.#group = group;
    this.#scatter = scatter;
    this.#modules = modules;
  }

  get rank(): number {
    return this.#group.rank;
  }

  get worldSize(): number {
    return this.#group.worldSize;
  }

  async reduce(_parameters: readonly Parameter[], items: number, discard: boolean): Promise<WindowTotals> {
    const pieces = this.#modules.flatMap((module) => module.pieces);
    // Whole gradients are left by micro-batches without synchronization, and by a window that was loaded: of which
    // parameters may differ by rank.
    const totals = Float64Array.from([items, discard ? 1 : 0, ...pieces.flatMap(kindsOf)]);
    await this.#group.allReduce(totals, 'sum');
    const [allItems, discards] = totals as unknown as [number, number];
    const dense = pieces.map((_piece, i) => (totals[2 + 2 * i] as number) > 0);
    const rows = pieces.map((_piece, i) => (totals[3 + 2 * i] as number) > 0);
    for (const { units } of this.#modules)
      for (const unit of units) {
        const indexed = unit.pieces.map((piece) => [piece, pieces.indexOf(piece)] as const);
        this.#scatter.start(
          indexed.flatMap(([piece, i]) => (dense[i] || (rows[i] && !isTable(piece)) ? [piece] : [])),
          Math.max(allItems, 1),
        );
        for (const [piece, i] of indexed)
          if (rows[i] && !dense[i] && isTable(piece)) this.#scatter.exchange(piece, Math.max(allItems, 1));
      }
    this.#scatter.settle();
    return { items: allItems, discard: discards > 0 };
  }

  agree(discard: boolean): Promise<boolean> {
    return anyRank(this.#group, discard);
  }

  /** The shards of all ranks are all of the gradients, each once. */
  norm(parameters: readonly Parameter[], normType: number): Promise<number> {
    return globalNorm(this.#group, gradientNorm(parameters, normType), normType);
  }

  settle(): void {
    this.#scatter.settle();
  }

  shardOf(parameter: Parameter): Shard | null {
    const { sharding } = parameter;
    const shard = sharding?.shard ?? null;
    return shard === null ? null : { parameter: shard, firstRow: shard.placement?.firstRow ?? 0 };
  }
}

/** Whether this rank has a whole gradient of each kind. */
function kindsOf({ parameter: { grad } }: Piece): [dense: number, rows: number] {
  return [grad !== null && !(grad instanceof RowSparse) ? 1 : 0, grad instanceof RowSparse ? 1 : 0];
}

/** Row-sparse gradients of pinned tables are reduced as dense ones, which is what their optimizer wants. */
function isTable({ parameter }: Piece): boolean {
  return !parameter.pinnedToDevice;
}
