/** The `ddp` strategy: each rank has the whole model and its own micro-batches; gradients are summed while backward runs. */
import {
  strategies,
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
import { z } from 'zod';
import { broadcastParameters, checkSameModule } from '../gradient-exchange/same-module.ts';
import { compressions } from '../gradient-exchange/wire-format.ts';
import { accumulateOption, bucketMegabytesOption, parseStrategyOptions } from '../strategy-options.ts';
import { DdpReduction } from './ddp-reduction.ts';

const optionsSchema = z.strictObject({
  accumulate: accumulateOption,
  bucketMegabytes: bucketMegabytesOption,
  /** In what numbers gradients travel. */
  compression: z.enum(compressions, `must be one of ${compressions.join(', ')}`).default('none'),
});

/** Options of the strategy `ddp`. */
export type DdpOptions = z.input<typeof optionsSchema>;

/**
 * A window of `accumulate` micro-batches on each of the ranks; a step is that of one process on all of them.
 *
 * Gradients add up on each rank. In the last backward of a window, those that are complete start on their way in buckets, in reverse
 * order of the parameters, while the walk goes on. Embedding tables follow as the rows that occurred on any rank.
 */
export class DdpStrategy extends WindowStrategy {
  readonly #options: z.output<typeof optionsSchema>;
  #reduction: DdpReduction | null = null;
  #endBackward: (() => void) | null = null;
  #unsynchronized = 0;

  /** @throws TensorloomError `BAD_OPTION` naming every option that is unknown or out of range */
  constructor(options: DdpOptions = {}) {
    const parsed = parseStrategyOptions('ddp', optionsSchema, options);
    super('ddp', parsed.accumulate);
    this.#options = parsed;
  }

  protected override createReduction(context: StrategyContext): Reduction {
    const { bucketMegabytes, compression } = this.#options;
    const { processGroup } = context;
    if (processGroup.worldSize === 1) return super.createReduction(context);
    return (this.#reduction = new DdpReduction(processGroup, { bucketBytes: bucketMegabytes * 1e6, compression }));
  }

  /**
   * Refuses modules that differ among ranks, then gives all of them rank zero's parameters.
   * @throws TensorloomError `COLLECTIVE_MISMATCH` naming the ranks and the first parameter that differs
   */
  override async setupModule(module: Module): Promise<Module> {
    await super.setupModule(module);
    if (this.#reduction === null) return module;
    await checkSameModule(this.context, module);
    await broadcastParameters(this.context, module);
    this.#reduction.addModule(module);
    return module;
  }

  override backward<T extends LossOutput>(module: Module, compute: () => T, request: BackwardRequest): T {
    this.#reduction?.begin(module, this.window.microBatches === 0);
    try {
      const output = super.backward(module, compute, request);
      this.#endBackward?.();
      return output;
    } catch (error) {
      // The other ranks wait for the rest of what was begun.
      if (this.#endBackward !== null)
        this.context.processGroup.abort(
          `backward failed on rank ${this.context.processGroup.rank}: ${error instanceof Error ? error.message : String(error)}`,
        );
      throw error;
    } finally {
      this.#endBackward = null;
    }
  }

  protected override hooksFor(module: Module, closes: boolean): BackwardHooks {
    if (!closes || this.#unsynchronized > 0) return {};
    const overlap = this.#reduction?.overlap(module);
    if (overlap == null) return {};
    this.#endBackward = overlap.end;
    return overlap.hooks;
  }

  /** Gradients stay on this rank until the window closes. */
  override async noBackwardSync<T>(_module: Module, fn: () => Promise<T> | T): Promise<T> {
    this.#unsynchronized++;
    try {
      return await fn();
    } finally {
      this.#unsynchronized--;
    }
  }

  override heldBytes(): HeldBytes {
    return { ...super.heldBytes(), communication: this.#reduction?.bytes ?? 0 };
  }

  /** Which parameters are tables decides what travels together, and so how sums are rounded: a resumed run must go on with the same. */
  override stateDict(): StateDict {
    const { values, ...state } = super.stateDict();
    const tables = this.#reduction?.tableNames.map((names) => (names === null ? null : [...names])) ?? [];
    return { ...state, values: { ...values, tables } };
  }

  override loadStateDict(state: StoredState): void {
    super.loadStateDict(state);
    const { tables } = state.values;
    if (this.#reduction === null || !Array.isArray(tables)) return;
    this.#reduction.tableNames = tables.map((names) =>
      Array.isArray(names) ? names.filter((name) => typeof name === 'string') : null,
    );
  }
}

strategies.register('ddp', {
  reach: 'multi',
  summary: 'several devices with a whole model each; gradients are summed while backward runs',
  create: (options) => new DdpStrategy(options),
});
