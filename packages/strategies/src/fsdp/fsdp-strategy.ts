/** The `fsdp` strategy (ZeRO-3, Rajbhandari et al., 2020): each rank keeps a part of parameters, gradients and optimizer state. */
import {
  heldBytes,
  strategies,
  TensorloomError,
  WindowStrategy,
  withActivationStorage,
  type BackwardHooks,
  type BackwardRequest,
  type HeldBytes,
  type LossOutput,
  type Module,
  type Optimizer,
  type Reduction,
  type StoredState,
  type StrategyContext,
  type Work,
} from '@tensorloom/core';
import { z } from 'zod';
import { BufferPool } from '../gradient-exchange/buffer-pool.ts';
import { checkSameModule } from '../gradient-exchange/same-module.ts';
import { accumulateOption, parseStrategyOptions } from '../strategy-options.ts';
import { EvaluationTurns } from './evaluation-turns.ts';
import { FsdpReduction } from './fsdp-reduction.ts';
import type { GatherContext } from './gathering.ts';
import { GradientScatter } from './gradient-scatter.ts';
import { ShardedModule } from './sharded-module.ts';
import type { UnitReduction } from './unit-walk.ts';
import type { UnitPredicate } from './units.ts';
import { withWholePieces } from './whole-module.ts';

const storage = z.enum(['float32', 'float16', 'bfloat16'], 'must be float32, float16 or bfloat16').default('float32');
const flag = (value: boolean) => z.boolean('must be true or false').default(value);

const optionsSchema = z.strictObject({
  accumulate: accumulateOption,
  /** Gradients go to their shards after each micro-batch; else they stay whole on each rank until the window's last: fewer messages, more memory. */
  reduceEachMicroBatch: flag(true),
  /** Gather the next unit while one computes. */
  prefetch: flag(true),
  /** Free a unit after its forward and gather it again for backward. */
  reshardAfterForward: flag(true),
  /** What parameters travel as; shards stay as they are. */
  parameterStorage: storage,
  /** What gradients travel and are summed as. */
  reductionStorage: storage,
});

/** Options of the strategy `fsdp`. */
export type FsdpOptions = z.input<typeof optionsSchema>;

/**
 * A window of `accumulate` micro-batches on each rank. Whole parameters exist a unit at a time: transformer blocks (elements of arrays of
 * modules), and what is around them. All ranks must run the same modules in the same order, equally many forwards.
 */
export class FsdpStrategy extends WindowStrategy {
  readonly #options: z.output<typeof optionsSchema>;
  readonly #isUnit: UnitPredicate | undefined;
  readonly #sharded: ShardedModule[] = [];
  #running: Running | null = null;
  #unsynchronized = 0;

  /**
   * @param isUnit which modules are units of their own, in place of the elements of arrays of modules
   * @throws TensorloomError `BAD_OPTION` naming every option that is unknown or out of range
   */
  constructor(options: FsdpOptions = {}, isUnit?: UnitPredicate) {
    const parsed = parseStrategyOptions('fsdp', optionsSchema, options);
    super('fsdp', parsed.accumulate);
    this.#options = parsed;
    this.#isUnit = isUnit;
  }

  protected override createReduction({ accelerator, precision, processGroup: group }: StrategyContext): Reduction {
    const { parameterStorage, reductionStorage } = this.#options;
    const pool = new BufferPool(group);
    const scatter = new GradientScatter(group, pool, reductionStorage);
    const makeTensors = (fn: () => void): void => withActivationStorage(accelerator, precision.parameterStorage, fn);
    this.#running = {
      gathers: { group, pool, storage: parameterStorage, makeTensors },
      scatter,
      turns: new EvaluationTurns(group),
    };
    return new FsdpReduction(group, scatter, this.#sharded);
  }

  /**
   * Shards rank zero's values. From then on the module's parameters can be read in forward and backward only.
   * @throws TensorloomError `COLLECTIVE_MISMATCH` if the ranks' modules differ
   */
  override async setupModule(module: Module): Promise<Module> {
    const { gathers, turns } = this.#set;
    await super.setupModule(module);
    await checkSameModule(this.context, module);
    const firstUnit = 1 + this.#sharded.reduce((sum, { units }) => sum + units.length, 0);
    const { prefetch, reshardAfterForward } = this.#options;
    const options = { prefetch, reshardAfterForward, isUnit: this.#isUnit };
    this.#sharded.push(await ShardedModule.create(module, this.#sharded.length, firstUnit, gathers, turns, options));
    return module;
  }

  /** The optimizer updates the shards. */
  override setupOptimizer(optimizer: Optimizer): Optimizer {
    optimizer.replaceParameters(
      new Map(this.#sharded.flatMap(({ pieces }) => pieces.map(({ parameter, shard }) => [parameter, shard] as const))),
    );
    return super.setupOptimizer(optimizer);
  }

  override backward<T extends LossOutput>(module: Module, compute: () => T, request: BackwardRequest): T {
    const { group } = this.#set.gathers;
    for (const sharded of this.#sharded) sharded.beginBackward();
    try {
      const output = super.backward(module, compute, request);
      for (const sharded of this.#sharded) sharded.endBackward(true);
      return output;
    } catch (error) {
      for (const sharded of this.#sharded) sharded.endBackward(false);
      // The other ranks wait for the rest of what was begun.
      if (group.worldSize > 1)
        group.abort(`backward failed on rank ${group.rank}: ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    }
  }

  protected override hooksFor(module: Module, closes: boolean): BackwardHooks {
    const sharded = this.#shardedBehind(module);
    const reduces = this.#unsynchronized === 0 && (this.#options.reduceEachMicroBatch || closes);
    if (!reduces) return sharded.hooks(null);
    const { scatter, gathers } = this.#set;
    if (this.#options.reductionStorage !== 'float16') return sharded.hooks({ scatter, items: () => 1 });
    const totals = new Float64Array(1);
    let agreed: Work | undefined;
    const reduction: UnitReduction = {
      scatter,
      items: () => {
        agreed?.waitSync();
        return totals[0] as number;
      },
    };
    return {
      ...sharded.hooks(reduction),
      onItems: (items) => {
        totals[0] = items;
        agreed = gathers.group.allReduce(totals, 'sum');
      },
    };
  }

  /** Gradients stay whole on this rank. */
  override async noBackwardSync<T>(_module: Module, fn: () => Promise<T> | T): Promise<T> {
    this.#unsynchronized++;
    try {
      return await fn();
    } finally {
      this.#unsynchronized--;
    }
  }

  async joinEvaluation(): Promise<void> {
    const { gathers, turns } = this.#set;
    if (gathers.group.worldSize === 1 || this.#sharded.length === 0) return;
    for (let module = await turns.join(); module !== null; module = await turns.join())
      await (this.#sharded[module] as ShardedModule).mirrorForward();
  }

  async withWholeModule<T>(module: Module, write: (state: StoredState) => Promise<T>): Promise<T | undefined> {
    return withWholePieces(this.#set.gathers.group, this.#shardedBehind(module).pieces, write);
  }

  override heldBytes(): HeldBytes {
    const pieces = this.#sharded.flatMap((sharded) => sharded.pieces);
    const shards = pieces.flatMap(({ shard }) => (shard === null ? [] : [shard]));
    const held = heldBytes(shards, this.optimizers);
    const whole = heldBytes(
      pieces.map(({ parameter }) => parameter),
      [],
    );
    return {
      ...held,
      parameters: held.parameters + this.#sharded.reduce((sum, { gatheredBytes }) => sum + gatheredBytes, 0),
      gradients: held.gradients + whole.gradients,
      communication: this.#running?.gathers.pool.bytes ?? 0,
    };
  }

  #shardedBehind(module: Module): ShardedModule {
    const sharded = this.#sharded.find((each) => each.module === module);
    if (sharded === undefined)
      throw new TensorloomError('MISUSE', `${module.constructor.name} was not set up with strategy 'fsdp'.`);
    return sharded;
  }

  get #set(): Running {
    if (this.#running === null)
      throw new TensorloomError('NOT_LAUNCHED', "Strategy 'fsdp' is not set up; launch Fabric first.");
    return this.#running;
  }
}

/** What exists from launch on. */
interface Running {
  readonly gathers: GatherContext;
  readonly scatter: GradientScatter;
  readonly turns: EvaluationTurns;
}

strategies.register('fsdp', {
  reach: 'multi',
  summary:
    'several devices that share parameters, gradients and optimizer state; whole parameters exist a block at a time',
  create: (options) => new FsdpStrategy(options),
});
