/** One device: a window of one micro-batch, or of several for strategies made of this one. */
import { TensorloomError } from '../errors.ts';
import { strategies, type StrategyContext, type StrategyOptions } from './strategy.ts';
import { WindowStrategy } from './window-strategy.ts';

/** The strategy `single`, and the base of those that differ only in the size of the window. */
export class SingleDeviceStrategy extends WindowStrategy {
  /**
   * @param name as the user gives it
   * @param accumulate micro-batches in a full window
   * @throws TensorloomError `BAD_OPTION` unless `accumulate` is a whole number of at least 1
   */
  constructor(name = 'single', accumulate = 1) {
    super(name, accumulate);
  }

  /** @throws TensorloomError `CONFLICTING_OPTIONS` for more than one rank */
  override setup(context: StrategyContext): void {
    const { worldSize } = context.processGroup;
    if (worldSize !== 1)
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        `Strategy '${this.name}' runs on one device, but there are ${worldSize} ranks. Set devices to 1, or choose a strategy for several.`,
      );
    super.setup(context);
  }
}

/** Refuses options that a strategy does not know. @throws TensorloomError `BAD_OPTION` naming those that it has */
export function refuseUnknownOptions(strategy: string, given: StrategyOptions, known: readonly string[]): void {
  for (const option of Object.keys(given))
    if (!known.includes(option))
      throw new TensorloomError(
        'BAD_OPTION',
        `Strategy '${strategy}' has no option '${option}'. It has ${known.length === 0 ? 'none' : known.join(', ')}.`,
      );
}

strategies.register('single', {
  reach: 'single',
  summary: 'one device, one micro-batch per step',
  create: (options) => {
    refuseUnknownOptions('single', options, []);
    return new SingleDeviceStrategy();
  },
});
