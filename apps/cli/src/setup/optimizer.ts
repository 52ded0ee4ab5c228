/** Optimizer and learning rate schedule from the options. */
import { Adam, AdamW, LearningRateSchedule, SGD, type Optimizer, type Parameter } from '@tensorloom/core';
import type { RunConfig } from '../config/schema.ts';

export function createOptimizer(
  config: Pick<RunConfig, 'optimizer' | 'lr'> & Pick<Partial<RunConfig>, 'weightDecay' | 'momentum'>,
  parameters: Iterable<Parameter>,
): Optimizer {
  const { lr, weightDecay, momentum } = config;
  const options = { lr, ...(weightDecay === undefined ? {} : { weightDecay }) };
  if (config.optimizer === 'sgd')
    return new SGD(parameters, { ...options, ...(momentum === undefined ? {} : { momentum }) });
  return config.optimizer === 'adamw' ? new AdamW(parameters, options) : new Adam(parameters, options);
}

/** @param totalSteps optimizer steps of the whole run */
export function createSchedule(
  config: Pick<RunConfig, 'schedule' | 'warmupSteps'>,
  optimizer: Optimizer,
  totalSteps: number,
): LearningRateSchedule {
  return new LearningRateSchedule(optimizer, config.schedule, { warmupSteps: config.warmupSteps, totalSteps });
}
