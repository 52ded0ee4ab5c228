/** The environment variables of one rank. */
import type { Variables } from '../environments/variables.ts';
import type { ResolvedLaunch } from './launch-options.ts';
import { gpuOfRank } from './visible-gpus.ts';

/** What changes with each start of all ranks. */
export interface Attempt {
  /** 0 for the first, then one more with each restart. */
  readonly number: number;
  readonly mainPort: number;
  readonly jobId: string;
  readonly token: string;
  /** Where ranks notice that the launcher is gone. */
  readonly watchedSocket: string;
}

/** @param gpus as from `visibleGpus` */
export function rankVariables(
  launch: ResolvedLaunch,
  attempt: Attempt,
  gpus: readonly string[],
  localRank: number,
): Record<string, string> {
  const { devices, numNodes, nodeRank, threads } = launch;
  const gpu = gpuOfRank(gpus, localRank);
  // A file of tokens would contradict the token; the restart count of an outer launcher is not ours.
  const { TENSORLOOM_TOKEN_FILE: _file, ...inherited } = launch.variables;
  return {
    ...defined(inherited),
    RANK: String(nodeRank * devices + localRank),
    LOCAL_RANK: String(localRank),
    WORLD_SIZE: String(numNodes * devices),
    LOCAL_WORLD_SIZE: String(devices),
    GROUP_RANK: String(nodeRank),
    NODE_RANK: String(nodeRank),
    GROUP_WORLD_SIZE: String(numNodes),
    MASTER_ADDR: launch.mainAddress,
    MASTER_PORT: String(attempt.mainPort),
    TENSORLOOM_JOB_ID: attempt.jobId,
    TENSORLOOM_TOKEN: attempt.token,
    TENSORLOOM_LAUNCHER_SOCKET: attempt.watchedSocket,
    TENSORLOOM_RESTART_COUNT: String(attempt.number),
    TENSORLOOM_THREADS: String(threads),
    OMP_NUM_THREADS: String(threads),
    TF_NUM_INTRAOP_THREADS: String(threads),
    ...(gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: gpu }),
  };
}

function defined(variables: Variables): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
