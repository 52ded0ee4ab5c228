/** What `fabric.launch()` does in a script that asks for several devices and was started alone. */
import { registerRankLauncher, type LaunchRequest } from '@tensorloom/core';
import { launchRanks } from './launch-ranks.ts';

/**
 * Runs this very command line once per device. On several machines the script is started once on each, with NODE_RANK,
 * MASTER_ADDR and TENSORLOOM_TOKEN set.
 * @returns the exit code of the whole
 */
export async function relaunchThisCommand({ devices, numNodes, threads }: LaunchRequest): Promise<number> {
  return launchRanks({
    command: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    devices,
    numNodes,
    ...(threads === undefined ? {} : { threads }),
  });
}

registerRankLauncher(relaunchThisCommand);
