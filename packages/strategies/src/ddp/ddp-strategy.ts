/** The `ddp` strategy: each rank has the whole model and its own micro-batches; gradients are summed while backward runs. */
import { strategies, type StrategyContext } from '@tensorloom/core';
import { z } from 'zod';
import { ExchangingStrategy, type GradientExchange } from '../gradient-exchange/exchanging-strategy.ts';
import { compressions } from '../gradient-exchange/wire-format.ts';
import { accumulateOption, bucketMegabytesOption, parseStrategyOptions } from '../strategy-options.ts';
import { DdpExchange } from './ddp-exchange.ts';

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
export class DdpStrategy extends ExchangingStrategy {
  readonly #options: z.output<typeof optionsSchema>;

  /** @throws TensorloomError `BAD_OPTION` naming every option that is unknown or out of range */
  constructor(options: DdpOptions = {}) {
    const parsed = parseStrategyOptions('ddp', optionsSchema, options);
    super('ddp', parsed.accumulate);
    this.#options = parsed;
  }

  protected override createExchange({ processGroup }: StrategyContext): GradientExchange {
    const { bucketMegabytes, compression } = this.#options;
    return new DdpExchange(processGroup, { bucketBytes: bucketMegabytes * 1e6, compression });
  }
}

strategies.register('ddp', {
  reach: 'multi',
  summary: 'several devices with a whole model each; gradients are summed while backward runs',
  create: (options) => new DdpStrategy(options),
});
