/** What a window asks of the other ranks when it closes. Strategies for several ranks implement it. */
import type { Parameter } from '../modules/parameter.ts';
import { gradientNorm } from '../optimizers/gradients.ts';

/** What all ranks agree on when a window closes. */
export interface WindowTotals {
  /** Items of all ranks. */
  readonly items: number;
  /** Some rank wants the window's step skipped. */
  readonly discard: boolean;
}

/** The rows of a parameter that this rank keeps, where a strategy shards. */
export interface Shard {
  /** Holds the rows, and their gradient. */
  readonly parameter: Parameter;
  /** Number of the first row in the whole parameter. */
  readonly firstRow: number;
}

/** Of one window. All ranks make the same calls in the same order. */
export interface Reduction {
  readonly rank: number;
  readonly worldSize: number;
  /**
   * Makes the gradients of `parameters`, those of one optimizer, sums over all ranks. Called once per optimizer when a window closes.
   * Afterwards all ranks have the same gradients, to the bit, or each the gradients of its shards.
   */
  reduce(parameters: readonly Parameter[], items: number, discard: boolean): Promise<WindowTotals>;
  /** Whether any rank wants the step skipped: asked when the gradients have been reduced ahead of it. */
  agree(discard: boolean): Promise<boolean>;
  /** The p-norm of the gradients of all ranks' `parameters`, the same on all ranks. */
  norm(parameters: readonly Parameter[], normType: number): number | Promise<number>;
  /** Waits for what is under way, so that gradients can be read. */
  settle?(): void;
  /** The shard of a module's parameter, null if this rank has none of its rows; absent where nothing is sharded. */
  shardOf?(parameter: Parameter): Shard | null;
}

/** One rank: its own gradients are all. */
export const ownGradients: Reduction = {
  rank: 0,
  worldSize: 1,
  reduce: (_parameters, items, discard) => Promise.resolve({ items, discard }),
  agree: (discard) => Promise.resolve(discard),
  norm: gradientNorm,
};
