/** Which ranks a Fabric is one of: what the script asks for, against what a launcher, a scheduler or a plugin has made. */
import {
  detectClusterEnvironment,
  SingleProcessEnvironment,
  type ClusterEnvironment,
} from '../distributed/cluster-environment.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { ResolvedOptions } from './options.ts';
import type { SortedPlugins } from './plugins.ts';

/** The ranks of this job, and who this one is among them. */
export interface World {
  readonly environment: ClusterEnvironment;
  readonly worldSize: number;
  readonly rank: number;
  /** This process was started alone, and `launch` has to start the ranks. */
  readonly mustStartRanks: boolean;
  /** Started alone with `devices: 'auto'`: the accelerator tells how many ranks there will be. */
  readonly asManyAsDevices: boolean;
}

/**
 * @param variables of the process
 * @throws TensorloomError `CONFLICTING_OPTIONS` naming what the script asks for and what there is; `BAD_OPTION` for variables that are wrong
 */
export function planWorld(
  options: Pick<ResolvedOptions, 'devices' | 'numNodes'>,
  plugins: Pick<SortedPlugins, 'clusterEnvironment' | 'processGroup'>,
  variables: Readonly<Record<string, string | undefined>>,
): World {
  const found = plugins.clusterEnvironment ?? detectClusterEnvironment(variables);
  const group = plugins.processGroup;
  if (group !== undefined) {
    if (found !== null && (found.worldSize !== group.worldSize || found.globalRank !== group.rank))
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        `Fabric: the process group given as plugin has this process as rank ${group.rank} of ${group.worldSize}, ` +
          `the cluster environment '${found.name}' as rank ${found.globalRank} of ${found.worldSize}. Leave one of them out.`,
      );
    return joined(
      found ?? new GroupEnvironment(group, options.numNodes ?? 1),
      options,
      `process group '${group.name}'`,
    );
  }
  if (found !== null) return joined(found, options, `cluster environment '${found.name}'`);
  return alone(options);
}

function joined(environment: ClusterEnvironment, options: Pick<ResolvedOptions, 'devices' | 'numNodes'>, what: string) {
  const { numNodes = environment.numNodes, devices } = options;
  const perNode = devices === undefined || devices === 'auto' ? environment.localWorldSize : countOf(devices);
  if (numNodes !== environment.numNodes || perNode !== environment.localWorldSize)
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      `Fabric: the script asks for ${shownDevices(devices)} × numNodes ${numNodes}, but the ${what} has started ${environment.worldSize} ranks: ` +
        `${environment.localWorldSize} on this machine, ${environment.numNodes} machines. Leave devices and numNodes out of the script, or start it with as many.`,
    );
  return {
    environment,
    worldSize: environment.worldSize,
    rank: environment.globalRank,
    mustStartRanks: false,
    asManyAsDevices: false,
  };
}

function alone({ devices, numNodes = 1 }: Pick<ResolvedOptions, 'devices' | 'numNodes'>): World {
  const worldSize = countOf(devices) * numNodes;
  return {
    environment: new SingleProcessEnvironment(),
    worldSize,
    rank: 0,
    mustStartRanks: worldSize > 1,
    asManyAsDevices: devices === 'auto',
  };
}

/**
 * Our launcher, started once on each machine, goes by these; without them a process cannot know which machine it is.
 * @throws TensorloomError `CONFLICTING_OPTIONS` if several machines are asked for and this process was started alone
 */
export function refuseNodesWithoutLauncher(
  world: World,
  numNodes: number | undefined,
  variables: Readonly<Record<string, string | undefined>>,
): void {
  if (!world.mustStartRanks || numNodes === undefined || numNodes === 1) return;
  if (['NODE_RANK', 'GROUP_RANK', 'JOB_COMPLETION_INDEX'].some((name) => variables[name] !== undefined)) return;
  throw new TensorloomError(
    'CONFLICTING_OPTIONS',
    `Fabric: numNodes is ${numNodes}, but this process was started alone, and it cannot start others on other machines. Run on each machine ` +
      `\`tensorloom launch --num-nodes=${numNodes} --node-rank=… --main-address=… --devices=… -- COMMAND\` (or the script itself with NODE_RANK, MASTER_ADDR and TENSORLOOM_TOKEN), ` +
      'use a scheduler (Slurm, mpirun, Kubernetes), or set RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun does. ' +
      'Environments are recognised by the package @tensorloom/strategies: import it before Fabric is made.',
  );
}

/** Devices per machine; one where that is left open. */
export function countOf(devices: ResolvedOptions['devices']): number {
  if (devices === undefined || devices === 'auto') return 1;
  return typeof devices === 'number' ? devices : devices.length;
}

function shownDevices(devices: ResolvedOptions['devices']): string {
  if (devices === undefined) return 'any devices';
  return typeof devices === 'object' ? `devices [${devices.join(', ')}]` : `devices ${devices}`;
}

/** Who a rank is by its process group alone: nodes have equally many ranks, in order. */
class GroupEnvironment implements ClusterEnvironment {
  readonly name: string;
  readonly globalRank: number;
  readonly localRank: number;
  readonly localWorldSize: number;
  readonly nodeRank: number;
  readonly numNodes: number;
  readonly worldSize: number;
  readonly mainAddress = '127.0.0.1';
  /** The group has met already: no port is opened. */
  readonly mainPort = 0;
  readonly jobId = 'group';
  readonly token = undefined;

  constructor(group: ProcessGroup, numNodes: number) {
    if (group.worldSize % numNodes !== 0)
      throw new TensorloomError(
        'CONFLICTING_OPTIONS',
        `Fabric: numNodes is ${numNodes}, but the process group '${group.name}' has ${group.worldSize} ranks, which are not equally many on each.`,
      );
    this.name = group.name;
    this.globalRank = group.rank;
    this.worldSize = group.worldSize;
    this.numNodes = numNodes;
    this.localWorldSize = group.worldSize / numNodes;
    this.localRank = group.rank % this.localWorldSize;
    this.nodeRank = Math.floor(group.rank / this.localWorldSize);
  }
}
