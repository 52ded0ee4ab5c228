/** `train --devices=N` started alone: looks for mistakes, so that they are told once, then runs this command line once per rank. */
import { launchRanks } from '@tensorloom/strategies';
import type { RunConfig } from '../config/schema.ts';
import { refuseTakenName } from '../run/create-run-folder.ts';
import { createProgress } from '../run/progress.ts';
import { Signals } from '../run/signals.ts';
import { createFabric } from '../setup/fabric.ts';
import { findInputs } from '../setup/prepare-run.ts';
import { flagOf } from './launch-flags.ts';
import { thisCommand } from './rank-command.ts';

/**
 * Returns the exit code of the whole.
 * @param isNew whether a new run folder will be made
 * @throws UsageError, TensorloomError before any rank is started
 */
export async function startRanks(config: RunConfig, isNew: boolean): Promise<number> {
  // Finding models and data may take a download.
  const signals = new Signals().listen();
  if (isNew) refuseTakenName(config);
  createFabric(config, []);
  await findInputs(config, createProgress(config));
  signals.close();
  return launchRanks({
    command: thisCommand(),
    devices: config.devices ?? 1,
    optionName: flagOf,
    ...(config.threads === undefined ? {} : { threads: config.threads }),
  });
}
