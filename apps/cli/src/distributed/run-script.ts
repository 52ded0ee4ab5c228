/** `tensorloom run SCRIPT`: a user's own file under our launcher. What is given here, its Fabric takes. */
import { existsSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { launchRanks } from '@tensorloom/strategies';
import '@tensorloom/native';
import { accelerators, detectClusterEnvironment, selectPrecision, strategies } from '@tensorloom/core';
import { flagName } from '../config/schema.ts';
import { UsageError } from '../errors.ts';
import { flagOf } from './launch-flags.ts';
import { checkProcessGroup } from './process-group-flags.ts';
import type { GivenLaunch } from './launch-flags.ts';
import { runProgram } from './run-program.ts';

/** For the script's Fabric; undefined leaves it to the script. */
export interface FabricChoice {
  readonly accelerator: string | undefined;
  readonly strategy: string | undefined;
  readonly precision: string | undefined;
  readonly processGroup: string | undefined;
}

/**
 * Returns the exit code of the whole.
 * @throws UsageError for a script that is not there
 * @throws UnknownNameError for names that nobody has registered
 * @throws TensorloomError `BAD_OPTION`
 */
export async function runScript(
  script: string,
  args: readonly string[],
  launch: GivenLaunch,
  choice: FabricChoice,
): Promise<number> {
  const path = resolve(script);
  if (!existsSync(path)) throw new UsageError(`No script at ${path}.`);
  refuseUnknownNames(choice);
  const { devices } = launch;
  const chosen = {
    TENSORLOOM_ACCELERATOR: choice.accelerator,
    TENSORLOOM_STRATEGY: choice.strategy,
    TENSORLOOM_PRECISION: choice.precision,
    TENSORLOOM_PROCESS_GROUP: choice.processGroup,
    TENSORLOOM_DEVICES: devices === undefined ? undefined : String(devices),
  };
  const given = Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined));
  // As tensorloom itself runs: TypeScript is read through tsx.
  const preload = new URL(`./script-preload${extname(new URL(import.meta.url).pathname)}`, import.meta.url).href;
  const command = [process.execPath, ...process.execArgv, '--import', preload, path, ...args];
  const variables = { ...process.env, ...given };
  const environment = detectClusterEnvironment(process.env);
  if (environment !== null && Object.keys(launch).length > 0)
    throw new UsageError(
      `${environment.name} has started this process as one of ${environment.worldSize} ranks: leave out ${Object.keys(
        launch,
      )
        .map((key) => `--${flagName(key)}`)
        .join(', ')}.`,
    );
  const ranks = environment?.worldSize ?? (devices ?? 1) * (launch.numNodes ?? 1);
  if (choice.processGroup !== undefined) checkProcessGroup(choice.processGroup, ranks, environment);
  // Nothing to launch: the script is a rank already, or decides on its devices itself.
  if (Object.keys(launch).length === 0) return runProgram(command, variables);
  return launchRanks({ ...launch, devices: devices ?? 1, command, variables, optionName: flagOf });
}

/** Told once, before ranks are started. `auto` leaves it to the script. */
function refuseUnknownNames({ accelerator, strategy, precision }: FabricChoice): void {
  if (accelerator !== undefined && accelerator !== 'auto') accelerators.get(accelerator);
  if (strategy !== undefined && strategy !== 'auto') strategies.get(strategy);
  if (precision !== undefined) selectPrecision(precision);
}
