/** Base of strategies whose gradients travel between ranks during and after backward. */
import {
  WindowStrategy,
  type BackwardHooks,
  type BackwardRequest,
  type HeldBytes,
  type LossOutput,
  type Module,
  type Reduction,
  type StateDict,
  type StoredState,
  type StrategyContext,
} from '@tensorloom/core';
import { broadcastParameters, checkSameModule } from './same-module.ts';

/** What is done during one backward. */
export interface Overlap {
  readonly hooks: BackwardHooks;
  /** After it. */
  readonly end: () => void;
}

/** How gradients get to where they are needed. */
export interface GradientExchange extends Reduction {
  addModule(module: Module): void;
  /** Ahead of every backward. @param newWindow it is the first of a window */
  begin(module: Module, newWindow: boolean): void;
  /** What to send during the backward that comes; null if nothing. @param closes it is the last of a window */
  overlap(module: Module, closes: boolean): Overlap | null;
  /** Of buffers. */
  readonly bytes: number;
  /** Names of each module's tables, in the order in which modules were added; null where they are not known yet. */
  tableNames: readonly (readonly string[] | null)[];
}

/** Refuses modules that differ among ranks, gives all of them rank zero's parameters, and lets the exchange watch backward. */
export abstract class ExchangingStrategy extends WindowStrategy {
  #exchange: GradientExchange | null = null;
  #endBackward: (() => void) | null = null;
  /** Forward is over, and what is sent during backward may have begun. */
  #walking = false;
  #unsynchronized = 0;

  protected abstract createExchange(context: StrategyContext): GradientExchange;

  protected override createReduction(context: StrategyContext): Reduction {
    if (context.processGroup.worldSize === 1) return super.createReduction(context);
    return (this.#exchange = this.createExchange(context));
  }

  /** @throws TensorloomError `COLLECTIVE_MISMATCH` naming the ranks and the first parameter that differs */
  override async setupModule(module: Module): Promise<Module> {
    await super.setupModule(module);
    if (this.#exchange === null) return module;
    await checkSameModule(this.context, module);
    await broadcastParameters(this.context, module);
    this.#exchange.addModule(module);
    return module;
  }

  override backward<T extends LossOutput>(module: Module, compute: () => T, request: BackwardRequest): T {
    this.#exchange?.begin(module, this.window.microBatches === 0);
    try {
      const output = super.backward(module, compute, request);
      this.#endBackward?.();
      return output;
    } catch (error) {
      // The other ranks wait for the rest of what was begun. A forward that failed has begun nothing.
      if (this.#walking) {
        const { processGroup } = this.context;
        const reason = error instanceof Error ? error.message : String(error);
        processGroup.abort(`backward failed on rank ${processGroup.rank}: ${reason}`);
      }
      throw error;
    } finally {
      this.#endBackward = null;
      this.#walking = false;
    }
  }

  protected override hooksFor(module: Module, closes: boolean): BackwardHooks {
    if (this.#unsynchronized > 0) return {};
    const overlap = this.#exchange?.overlap(module, closes);
    if (!overlap) return {};
    this.#endBackward = overlap.end;
    const { hooks } = overlap;
    return {
      ...hooks,
      onItems: (items) => {
        this.#walking = true;
        hooks.onItems?.(items);
      },
    };
  }

  /** Gradients stay on this rank until a later backward, or until the window closes. */
  override async noBackwardSync<T>(_module: Module, fn: () => Promise<T> | T): Promise<T> {
    this.#unsynchronized++;
    try {
      return await fn();
    } finally {
      this.#unsynchronized--;
    }
  }

  override heldBytes(): HeldBytes {
    return { ...super.heldBytes(), communication: this.#exchange?.bytes ?? 0 };
  }

  /** Which parameters are tables decides what travels together, and so how sums are rounded: a resumed run must go on with the same. */
  override stateDict(): StateDict {
    const { values, ...state } = super.stateDict();
    const tables = this.#exchange?.tableNames.map((names) => (names === null ? null : [...names])) ?? [];
    return { ...state, values: { ...values, tables } };
  }

  override loadStateDict(state: StoredState): void {
    super.loadStateDict(state);
    const { tables } = state.values;
    if (this.#exchange === null || !Array.isArray(tables)) return;
    this.#exchange.tableNames = tables.map((names) =>
      Array.isArray(names) ? names.filter((name) => typeof name === 'string') : null,
    );
  }
}
