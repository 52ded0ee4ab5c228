/** How long a run will be, from the number of micro-batches of an epoch. */
import type { RunConfig } from '../config/schema.ts';

export interface RunLength {
  readonly steps: number;
  readonly microBatches: number;
}

/** Windows of `accumulate` micro-batches end with the epoch: its last one may be short and is a step all the same. */
export function runLength(
  microBatchesPerEpoch: number,
  config: Pick<RunConfig, 'accumulate' | 'epochs' | 'maxSteps'>,
): RunLength {
  const stepsPerEpoch = Math.ceil(microBatchesPerEpoch / config.accumulate);
  const steps = Math.min(config.epochs * stepsPerEpoch, config.maxSteps ?? Infinity);
  const wholeEpochs = Math.floor(steps / stepsPerEpoch);
  const rest = (steps - wholeEpochs * stepsPerEpoch) * config.accumulate;
  return { steps, microBatches: wholeEpochs * microBatchesPerEpoch + rest };
}
