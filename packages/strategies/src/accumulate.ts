/** The `accumulate` strategy: gradients of several micro-batches make one optimizer step, on one device. */
import { SingleDeviceStrategy, strategies, TensorloomError, type StrategyContext } from '@tensorloom/core';
import { z } from 'zod';
import { accumulateOption, parseStrategyOptions } from './strategy-options.ts';

/** Micro-batches in a window when the user does not say. */
export const DEFAULT_ACCUMULATE = 16;

const optionsSchema = z.strictObject({
  /** Micro-batches in a full window. */
  accumulate: accumulateOption.default(DEFAULT_ACCUMULATE),
});

/** Options of the strategy `accumulate`. */
export type AccumulateOptions = z.input<typeof optionsSchema>;

/**
 * A window of `accumulate` micro-batches. It closes when it is full, after the last micro-batch of an epoch, and when
 * `step` is told to flush.
 *
 * Gradients are added up as sums over items (reviews; unmasked tokens for language modelling) and divided once, by the
 * items of the window, so that a step equals that of one large batch whatever the sizes of the micro-batches are.
 */
export class AccumulateStrategy extends SingleDeviceStrategy {
  /** @throws TensorloomError `BAD_OPTION` naming every option that is unknown or out of range */
  constructor(options: AccumulateOptions = {}) {
    super('accumulate', parseStrategyOptions('accumulate', optionsSchema, options).accumulate);
  }

  /** @throws TensorloomError `CONFLICTING_OPTIONS` for more than one device */
  override setup(context: StrategyContext): void {
    const { worldSize } = context.processGroup;
    if (worldSize !== 1)
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        `Strategy 'accumulate' runs on one device, but ${worldSize} ranks were asked for. Set devices and numNodes to 1; with one device, a larger accumulate gives the same effective batch size.`,
      );
    super.setup(context);
  }
}

strategies.register('accumulate', {
  reach: 'single',
  summary: 'one device; gradients of several micro-batches (--accumulate) make one step',
  create: (options) => new AccumulateStrategy(options),
});
