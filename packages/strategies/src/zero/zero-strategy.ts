/** The strategies `zero1` and `zero2` (Rajbhandari et al., 2020): optimizer state, and gradients, in shards. */
import {
  heldBytes,
  strategies,
  type HeldBytes,
  type Optimizer,
  type Parameter,
  type StepOptions,
  type StepResult,
  type StrategyContext,
} from '@tensorloom/core';
import { z } from 'zod';
import { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { ExchangingStrategy, type GradientExchange } from '../gradient-exchange/exchanging-strategy.ts';
import { accumulateOption, bucketMegabytesOption, parseStrategyOptions } from '../strategy-options.ts';
import { gatherRows, gatherValues } from './gather-values.ts';
import { ZeroExchange } from './zero-exchange.ts';

const optionsOfStage = {
  zero1: z.strictObject({ accumulate: accumulateOption, bucketMegabytes: bucketMegabytesOption }),
  zero2: z.strictObject({
    accumulate: accumulateOption,
    bucketMegabytes: bucketMegabytesOption,
    /** True: gradients leave each rank after every micro-batch. False: only when the window closes, fewer messages for more memory. */
    reduceEachMicroBatch: z.boolean('must be true or false').default(true),
  }),
} as const;

/** Options of the strategy `zero1`. */
export type Zero1Options = z.input<(typeof optionsOfStage)['zero1']>;
/** Options of the strategy `zero2`. */
export type Zero2Options = z.input<(typeof optionsOfStage)['zero2']>;

interface ZeroSettings {
  readonly accumulate: number;
  readonly bucketMegabytes: number;
  readonly reduceEachMicroBatch: boolean;
}

/**
 * Every rank has the whole model and its own micro-batches, but keeps optimizer state only for its rows of each parameter, along the
 * first dimension. Gradients are reduced to the rank that keeps the rows, which updates them, and then all ranks gather the new values.
 */
abstract class ZeroStrategy extends ExchangingStrategy {
  readonly #settings: ZeroSettings;
  readonly #wholesOf = new Map<Optimizer, readonly Parameter[]>();
  #zero: ZeroExchange | null = null;
  #pool: BufferPool | null = null;

  constructor(name: string, settings: ZeroSettings) {
    super(name, settings.accumulate);
    this.#settings = settings;
  }

  protected override createExchange({ processGroup }: StrategyContext): GradientExchange {
    const { reduceEachMicroBatch } = this.#settings;
    this.#pool = new BufferPool(processGroup);
    const options = { bucketBytes: this.#bucketBytes, reduceEachMicroBatch };
    return (this.#zero = new ZeroExchange(processGroup, options, this.#pool));
  }

  /**
   * Puts this rank's shards in the place of the optimizer's parameters.
   * @throws TensorloomError `MISUSE` if the optimizer has stepped, or its state was loaded
   */
  override setupOptimizer(optimizer: Optimizer): Optimizer {
    const exchange = this.#zero;
    if (exchange !== null) {
      const wholes = optimizer.parameters;
      optimizer.replaceParameters(new Map(wholes.map((whole) => [whole, exchange.replicaShardOf(whole)])));
      this.#wholesOf.set(optimizer, wholes);
    }
    return super.setupOptimizer(optimizer);
  }

  override async step(optimizer: Optimizer, options: StepOptions): Promise<StepResult> {
    const result = await super.step(optimizer, options);
    if (result.stepped) await this.#gather(optimizer);
    // What was frozen in the middle of a window still has a gradient.
    if (result.closed) for (const whole of this.#wholesOf.get(optimizer) ?? []) whole.zeroGrad();
    return result;
  }

  /** Gives all ranks the new values of all that `optimizer` has updated. */
  async #gather(optimizer: Optimizer): Promise<void> {
    const [exchange, pool] = [this.#zero, this.#pool];
    if (exchange === null || pool === null) return;
    const wholes = (this.#wholesOf.get(optimizer) ?? []).filter(({ requiresGrad }) => requiresGrad);
    const shardOf = (whole: Parameter) => exchange.replicaShardOf(whole);
    const dense = wholes.filter((whole) => !exchange.isTable(whole));
    await gatherValues(this.context, dense, this.#bucketBytes, pool, shardOf);
    const tables = wholes.filter((whole) => exchange.isTable(whole));
    await gatherRows(this.context, tables, pool, shardOf, (shard) => optimizer.movedRows(shard));
  }

  override heldBytes(): HeldBytes {
    // What is under way is neither here nor there.
    this.#zero?.settle();
    const held = super.heldBytes();
    const ofShards = heldBytes(this.#zero?.shards ?? [], []);
    return { ...held, gradients: held.gradients + ofShards.gradients };
  }

  get #bucketBytes(): number {
    return this.#settings.bucketMegabytes * 1e6;
  }
}

/** Optimizer state in shards. Gradients add up as wholes, and are reduced in buckets during the last backward of a window. */
export class Zero1Strategy extends ZeroStrategy {
  /** @throws TensorloomError `BAD_OPTION` naming every option that is unknown or out of range */
  constructor(options: Zero1Options = {}) {
    super('zero1', {
      ...parseStrategyOptions('zero1', optionsOfStage.zero1, options),
      reduceEachMicroBatch: false,
    });
  }
}

/** Optimizer state and gradients in shards: gradients are reduced in buckets during every backward, and add up as shards. */
export class Zero2Strategy extends ZeroStrategy {
  /** @throws TensorloomError `BAD_OPTION` naming every option that is unknown or out of range */
  constructor(options: Zero2Options = {}) {
    super('zero2', parseStrategyOptions('zero2', optionsOfStage.zero2, options));
  }
}

strategies.register('zero1', {
  reach: 'multi',
  summary: 'several devices with a whole model each; optimizer state in shards',
  create: (options) => new Zero1Strategy(options),
});
strategies.register('zero2', {
  reach: 'multi',
  summary: 'several devices with a whole model each; optimizer state and gradients in shards',
  create: (options) => new Zero2Strategy(options),
});
