/** A Fabric made from the options of a run, and launched. */
import '@tensorloom/native';
import '@tensorloom/strategies';
import { accelerators, Fabric, TensorloomError, type Logger } from '@tensorloom/core';
import type { RunConfig } from '../config/schema.ts';
import { processGroupOptions, strategyOptions } from './strategy-options.ts';

/** @throws TensorloomError for a name that is not known and options that exclude each other */
export function createFabric(config: RunConfig, loggers: readonly Logger[]): Fabric {
  const { devices, numNodes, collectiveTimeoutMs, rankTimeoutMs, threads } = config;
  const worldSize = (devices ?? 1) * (numNodes ?? 1);
  return new Fabric({
    accelerator: config.accelerator,
    strategy: config.strategy,
    strategyOptions: strategyOptions(config, worldSize),
    precision: config.precision,
    processGroup: config.processGroup,
    processGroupOptions: processGroupOptions(config),
    loggers,
    maxSkippedSteps: config.maxSkippedSteps,
    compile: config.compile,
    activationCheckpointing: config.activationCheckpointing,
    ...(devices === undefined ? {} : { devices }),
    ...(numNodes === undefined ? {} : { numNodes }),
    ...(collectiveTimeoutMs === undefined ? {} : { collectiveTimeoutMs }),
    ...(rankTimeoutMs === undefined ? {} : { rankTimeoutMs }),
    ...(threads === undefined ? {} : { threads }),
  });
}

/** @throws TensorloomError for all that `createFabric` refuses and all that this machine cannot do */
export async function launchFabric(config: RunConfig, loggers: readonly Logger[]): Promise<Fabric> {
  try {
    const fabric = createFabric(config, loggers);
    await fabric.launch();
    return fabric;
  } catch (error) {
    // A preset may ask for several things that are not there: all are told at once.
    if (!config.compile || !isUnsupported(error) || canCompile(config)) throw error;
    // Fabric has refused the compiler alone, without the flag's name.
    if (error.message.includes('has no compiler'))
      throw new TensorloomError('UNSUPPORTED', noCompiler(config.accelerator), { cause: error });
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

function canCompile({ accelerator }: Pick<RunConfig, 'accelerator'>): boolean {
  const names = accelerator === 'auto' ? accelerators.names() : [accelerator];
  return names.some((name) => accelerators.get(name).create().compileBlock !== undefined);
}

function noCompiler(accelerator: string): string {
  const who = accelerator === 'auto' ? 'No accelerator' : `Accelerator '${accelerator}'`;
  return `${who} has ${accelerator === 'auto' ? 'a' : 'no'} compiler. Leave out --compile (where a preset brings it: --no-compile).`;
}
