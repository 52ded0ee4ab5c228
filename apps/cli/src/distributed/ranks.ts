/** Which ranks a run has: those that a launcher or scheduler has started, those that are to be started, or this process alone. */
import '@tensorloom/strategies';
import { detectClusterEnvironment, type ClusterEnvironment } from '@tensorloom/core';
import { refuseConflictsOfRanks } from '../config/conflicts.ts';
import { strategyForSeveral, type ResolvedConfig } from '../config/resolve.ts';
import type { PartialRunConfig } from '../config/schema.ts';
import { UsageError } from '../errors.ts';
import { checkProcessGroup, refuseFlagsOfWs } from './process-group-flags.ts';

export interface RankPlan {
  /** With `devices` and `numNodes` as they are, where there are several ranks. */
  readonly resolved: ResolvedConfig;
  readonly worldSize: number;
  /** This process is to start the ranks, and be none itself. */
  readonly mustStartRanks: boolean;
  /** The others leave output and shared files to this one. */
  readonly isRankZero: boolean;
}

/**
 * @param flags what the command line gives: that must agree with what a launcher has started, while recorded values give way
 * @throws UsageError naming the options that do not go with the number of ranks
 * @throws TensorloomError `BAD_OPTION` for a launcher's variables that are wrong
 */
export function planRanks(
  resolved: ResolvedConfig,
  flags: PartialRunConfig,
  variables: Readonly<Record<string, string | undefined>> = process.env,
): RankPlan {
  const environment = detectClusterEnvironment(variables);
  if (environment !== null) refuseOtherWorld(flags, environment);
  const devices = environment?.localWorldSize ?? resolved.config.devices ?? 1;
  const numNodes = environment?.numNodes ?? resolved.config.numNodes ?? 1;
  const worldSize = environment?.worldSize ?? devices * numNodes;
  if (environment === null && numNodes > 1)
    throw new UsageError(
      `--num-nodes=${numNodes}: this process was started alone, and starts no others on other machines. Run on each machine ` +
        `\`tensorloom launch --num-nodes=${numNodes} --node-rank=… --main-address=… --devices=${devices} -- train …\`, or use a scheduler (Slurm, mpirun, Kubernetes).`,
    );
  const chosen = worldSize === 1 ? resolved : withStrategyForSeveral(resolved);
  const { config } = chosen;
  refuseConflictsOfRanks(config, worldSize);
  checkProcessGroup(config.processGroup, worldSize, environment);
  refuseFlagsOfWs(config, worldSize, environment);
  return {
    resolved: worldSize === 1 ? chosen : { ...chosen, config: { ...config, devices, numNodes } },
    worldSize,
    mustStartRanks: environment === null && worldSize > 1,
    isRankZero: (environment?.globalRank ?? 0) === 0,
  };
}

/** As Fabric's `auto`: where nobody has chosen, several ranks take `ddp`. */
function withStrategyForSeveral(resolved: ResolvedConfig): ResolvedConfig {
  const { config, origins } = resolved;
  if (origins.strategy !== 'default') return resolved;
  const layer = strategyForSeveral;
  return {
    ...resolved,
    config: { ...config, ...layer.options },
    origins: { ...origins, strategy: layer.origin },
  };
}

function refuseOtherWorld({ devices, numNodes }: PartialRunConfig, environment: ClusterEnvironment): void {
  const differs = (asked: number | undefined, there: number): boolean => asked !== undefined && asked !== there;
  if (!differs(devices, environment.localWorldSize) && !differs(numNodes, environment.numNodes)) return;
  const asked = [
    ...(devices === undefined ? [] : [`--devices=${devices}`]),
    ...(numNodes === undefined ? [] : [`--num-nodes=${numNodes}`]),
  ];
  throw new UsageError(
    `${asked.join(' ')}, but ${environment.name} has started ${environment.worldSize} ranks: ${environment.localWorldSize} on this machine, ` +
      `${environment.numNodes} ${environment.numNodes === 1 ? 'machine' : 'machines'}. Leave ${asked.length === 1 ? 'it' : 'them'} out, or start as many.`,
  );
}
