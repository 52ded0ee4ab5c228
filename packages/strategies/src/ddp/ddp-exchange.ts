/** How `ddp` finishes a window: all modules' gradients summed, items and skipped steps agreed on. */
import {
  gradientNorm,
  type Module,
  type Parameter,
  type ProcessGroup,
  type WindowTotals,
  type Work,
} from '@tensorloom/core';
import { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import type { GradientExchange, Overlap } from '../gradient-exchange/exchanging-strategy.ts';
import { agreeOnTotals, anyRank } from '../gradient-exchange/totals.ts';
import { GradientAllReduce, type GradientAllReduceOptions } from './gradient-all-reduce.ts';

export class DdpExchange implements GradientExchange {
  readonly #group: ProcessGroup;
  readonly #options: GradientAllReduceOptions;
  readonly #pool: BufferPool;
  readonly #exchanges = new Map<Module, GradientAllReduce>();
  readonly #seen = new Set<Parameter>();

  constructor(group: ProcessGroup, options: GradientAllReduceOptions) {
    this.#group = group;
    this.#options = options;
    this.#pool = new BufferPool(group);
  }

  get rank(): number {
    return this.#group.rank;
  }

  get worldSize(): number {
    return this.#group.worldSize;
  }

  /** Of buffers. */
  get bytes(): number {
    return [...this.#exchanges.values()].reduce((sum, exchange) => sum + exchange.bytes, this.#pool.bytes);
  }

  addModule(module: Module): void {
    // What two modules share is the first one's.
    const parameters = module.parameters().filter((parameter) => !this.#seen.has(parameter));
    for (const parameter of parameters) this.#seen.add(parameter);
    this.#exchanges.set(module, new GradientAllReduce(this.#group, parameters, this.#options, this.#pool));
  }

  /** Ahead of every backward: what was sent of `module` is out of date, and in a new window that of all modules. */
  begin(module: Module, newWindow: boolean): void {
    for (const [each, exchange] of this.#exchanges) if (newWindow || each === module) exchange.begin();
  }

  /** In the last backward of a window gradients start as they become complete. Not in the first window, which shows what are tables. */
  overlap(module: Module, closes: boolean): Overlap | null {
    const exchange = this.#exchanges.get(module);
    if (!closes || exchange === undefined || !exchange.canOverlap) return null;
    if (this.#options.compression !== 'float16')
      return {
        hooks: { onParameterReady: (parameter) => exchange.ready(parameter, 1) },
        end: () => exchange.launchRest(1),
      };
    // Sums over items may be too large for float16: shares of the mean travel, for which all ranks' items are needed first.
    const items = new Float64Array(1);
    let agreed: Work | null = null;
    const factor = (): number => {
      agreed?.waitSync();
      return this.#factor(items[0] as number);
    };
    return {
      hooks: {
        onItems: (own) => {
          items[0] = own;
          agreed = this.#group.allReduce(items, 'sum');
        },
        onParameterReady: (parameter) => exchange.ready(parameter, factor()),
      },
      end: () => exchange.launchRest(factor()),
    };
  }

  async reduce(parameters: readonly Parameter[], items: number, discard: boolean): Promise<WindowTotals> {
    const totals = await agreeOnTotals(this.#group, items, discard);
    const chosen = new Set(parameters);
    for (const exchange of this.#exchanges.values()) await exchange.finish(chosen, this.#factor(totals.items));
    return totals;
  }

  agree(discard: boolean): Promise<boolean> {
    return anyRank(this.#group, discard);
  }

  /** All ranks have the same gradients, so each finds the same. */
  norm(parameters: readonly Parameter[], normType: number): number {
    return gradientNorm(parameters, normType);
  }

  settle(): void {
    for (const exchange of this.#exchanges.values()) exchange.settle();
  }

  get tableNames(): readonly (readonly string[] | null)[] {
    return [...this.#exchanges.values()].map((exchange) => exchange.tableNames);
  }

  set tableNames(names: readonly (readonly string[] | null)[]) {
    for (const [i, exchange] of [...this.#exchanges.values()].entries()) exchange.tableNames = names[i] ?? null;
  }

  #factor(items: number): number {
    return this.#options.compression === 'float16' ? 1 / Math.max(items, 1) : 1;
  }
}
