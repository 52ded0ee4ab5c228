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
    if (!config.compile || !isUnsupported(error)) throw error;
    // Fabric does not know the flag's name; where it has refused the compiler alone, the words are ours.
    const alone = error.message.includes('has no compiler');
    const advice = await compilerAdvice(config.accelerator, alone);
    if (advice === null) throw error;
    // A preset may ask for several things that are not there: all are told at once.
    throw new TensorloomError('UNSUPPORTED', alone ? advice : `${error.message}\n${advice}`, { cause: error });
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

/**
 * Why `--compile` cannot be had with this accelerator: which have a compiler, and what those lack that cannot be used here.
 * @param refused whether the one that was taken is known to have none
 * @returns null where it may be had
 */
async function compilerAdvice(accelerator: string, refused: boolean): Promise<string | null> {
  const made = accelerators.names().map((name) => accelerators.get(name).create());
  const able = made.filter((each) => each.compileBlock !== undefined);
  const failures = await Promise.all(able.map((each) => each.unavailable()));
  const isAuto = accelerator === 'auto';
  if (!refused && able.some(({ name }, i) => (isAuto ? failures[i] === null : name === accelerator))) return null;
  return [
    `--compile: ${isAuto ? 'the accelerator that auto takes here' : `accelerator '${accelerator}'`} has no compiler.`,
    ...able.map(({ name }, i) => {
      const failure = failures[i] ?? null;
      return failure === null
        ? `--accelerator=${name} has one.`
        : `Accelerator '${name}' has one, but cannot be used: ${failure}`;
    }),
    'Or leave out --compile (where a preset brings it: --no-compile).',
  ].join('\n');
}
