/** What `fabric.launch()` does in a script that asks for several devices and was started alone. */
import { registerRankLauncher, type LaunchRequest } from '@tensorloom/core';
import type { Variables } from '../environments/variables.ts';
import { launchRanks } from './launch-ranks.ts';
import { visibleGpus } from './visible-gpus.ts';

/**
 * Runs this very command line once per device. On several machines the script is started once on each, with NODE_RANK,
 * MASTER_ADDR and TENSORLOOM_TOKEN set.
 * @returns the exit code of the whole
 */
export async function relaunchThisCommand({
  devices,
  numNodes,
  deviceIndices,
  threads,
}: LaunchRequest): Promise<number> {
  return launchRanks({
    command: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    devices,
    numNodes,
    ...(threads === undefined ? {} : { threads }),
    ...(deviceIndices === undefined ? {} : { variables: showingGpus(deviceIndices, process.env) }),
  });
}

/** Of the machine's GPUs only those listed, in that order; as they are where there are no such GPUs: then the accelerator knows its devices. */
function showingGpus(indices: readonly number[], variables: Variables): Variables {
  const gpus = visibleGpus(variables);
  const listed = indices.map((index) => gpus[index]);
  return listed.includes(undefined) ? variables : { ...variables, CUDA_VISIBLE_DEVICES: listed.join(',') };
}

registerRankLauncher(relaunchThisCommand);
