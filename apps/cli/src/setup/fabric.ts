/** A Fabric made from the options of a run, and launched. */
import '@tensorloom/strategies';
import { accelerators, Fabric, TensorloomError, type Logger } from '@tensorloom/core';
import type { RunConfig } from '../config/schema.ts';

export type FabricConfig = Pick<
  RunConfig,
  'accelerator' | 'devices' | 'strategy' | 'accumulate' | 'precision' | 'compile' | 'maxSkippedSteps'
> &
  Pick<Partial<RunConfig>, 'threads'>;

/** @throws TensorloomError for a name that is not known, options that exclude each other, and all that this machine cannot do */
export async function launchFabric(config: FabricConfig, loggers: readonly Logger[]): Promise<Fabric> {
  try {
    const fabric = new Fabric({
      accelerator: config.accelerator,
      devices: config.devices,
      strategy: config.strategy,
      ...(config.strategy === 'accumulate' ? { strategyOptions: { accumulate: config.accumulate } } : {}),
      precision: config.precision,
      loggers,
      maxSkippedSteps: config.maxSkippedSteps,
      ...(config.threads === undefined ? {} : { threads: config.threads }),
    });
    await fabric.launch();
    if (config.compile && fabric.accelerator.compile === undefined)
      throw new TensorloomError('UNSUPPORTED', noCompiler(fabric.accelerator.name));
    return fabric;
  } catch (error) {
    // A preset may ask for several things that are not there: all are told at once.
    if (!config.compile || !isUnsupported(error) || error.message.includes('--compile') || canCompile(config))
      throw error;
    throw new TensorloomError('UNSUPPORTED', `${error.message}\n${noCompiler(config.accelerator)}`, { cause: error });
  }
}

/** Launches a Fabric for inference alone. */
export async function launchInferenceFabric(
  config: Pick<Partial<RunConfig>, 'accelerator' | 'precision' | 'threads'>,
): Promise<Fabric> {
  const fabric = new Fabric({
    accelerator: config.accelerator ?? 'auto',
    precision: config.precision ?? '32-true',
    ...(config.threads === undefined ? {} : { threads: config.threads }),
  });
  await fabric.launch();
  return fabric;
}

function isUnsupported(error: unknown): error is TensorloomError {
  return error instanceof TensorloomError && error.code === 'UNSUPPORTED';
}

function canCompile({ accelerator }: FabricConfig): boolean {
  const names = accelerator === 'auto' ? accelerators.names() : [accelerator];
  return names.some((name) => accelerators.get(name).create().compile !== undefined);
}

function noCompiler(accelerator: string): string {
  const who = accelerator === 'auto' ? 'No accelerator' : `Accelerator '${accelerator}'`;
  return `${who} has ${accelerator === 'auto' ? 'a' : 'no'} compiler. Leave out --compile (where a preset brings it: --no-compile).`;
}
