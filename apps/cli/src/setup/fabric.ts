/** A Fabric made from the options of a run. */
import '@tensorloom/strategies';
import { Fabric, TensorloomError } from '@tensorloom/core';
import type { RunConfig } from '../config/schema.ts';

export type FabricConfig = Pick<
  RunConfig,
  'accelerator' | 'devices' | 'strategy' | 'accumulate' | 'precision' | 'maxSkippedSteps'
> &
  Pick<Partial<RunConfig>, 'threads'>;

/** @throws TensorloomError for a name that is not known, or options that exclude each other; nothing is started yet */
export function createFabric(config: FabricConfig): Fabric {
  return new Fabric({
    accelerator: config.accelerator,
    devices: config.devices,
    strategy: config.strategy,
    ...(config.strategy === 'accumulate' ? { strategyOptions: { accumulate: config.accumulate } } : {}),
    precision: config.precision,
    maxSkippedSteps: config.maxSkippedSteps,
    ...(config.threads === undefined ? {} : { threads: config.threads }),
  });
}

/** A Fabric for inference alone. */
export function createInferenceFabric(
  config: Pick<Partial<RunConfig>, 'accelerator' | 'precision' | 'threads'>,
): Fabric {
  return new Fabric({
    accelerator: config.accelerator ?? 'auto',
    precision: config.precision ?? '32-true',
    ...(config.threads === undefined ? {} : { threads: config.threads }),
  });
}

/** @throws TensorloomError `UNSUPPORTED` where `--compile` is asked of an accelerator that has no compiler */
export function requireCompiler(fabric: Fabric): void {
  if (fabric.accelerator.compile === undefined)
    throw new TensorloomError(
      'UNSUPPORTED',
      `Accelerator '${fabric.accelerator.name}' has no compiler. Leave out --compile (where a preset brings it: --no-compile).`,
    );
}
