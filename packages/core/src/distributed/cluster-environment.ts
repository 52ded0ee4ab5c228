/** Where a rank learns who it is: from a launcher's variables, a scheduler's, or, alone, by itself. */
import { Registry } from '../registry.ts';

/** Who this process is among all ranks. */
export interface ClusterEnvironment {
  /** For logs: `single process`, `torchrun`, `Slurm`, … */
  readonly name: string;
  /** 0 .. worldSize - 1 over all nodes. */
  readonly globalRank: number;
  /** Rank within this node. */
  readonly localRank: number;
  /** Ranks on this node. */
  readonly localWorldSize: number;
  readonly nodeRank: number;
  readonly numNodes: number;
  readonly worldSize: number;
  /** Where the ranks meet. */
  readonly mainAddress: string;
  readonly mainPort: number;
  /** Tells jobs on one machine apart; the same on all ranks. Letters, digits, '.', '_' and '-'. */
  readonly jobId: string;
  /** What all ranks of the job know and nobody else; undefined where the environment brings none. */
  readonly token: string | undefined;
  /** The process group that this environment suggests to `auto`: `mpi` under mpirun. */
  readonly preferredProcessGroup?: string;
}

/** One process that is its own world. */
export class SingleProcessEnvironment implements ClusterEnvironment {
  readonly name = 'single process';
  readonly globalRank = 0;
  readonly localRank = 0;
  readonly localWorldSize = 1;
  readonly nodeRank = 0;
  readonly numNodes = 1;
  readonly worldSize = 1;
  readonly mainAddress = '127.0.0.1';
  /** No port is opened. */
  readonly mainPort = 0;
  readonly jobId = 'single';
  readonly token = undefined;
}

/** How one kind of environment is recognised. */
export interface ClusterEnvironmentEntry {
  /** Higher is asked first. */
  readonly priority: number;
  readonly summary: string;
  /**
   * The environment, or null if the variables are not of this kind.
   * @throws TensorloomError `BAD_OPTION` naming a variable that is missing or wrong
   */
  detect(variables: Readonly<Record<string, string | undefined>>): ClusterEnvironment | null;
}

/** Cluster environments by name; register your own here. */
export const clusterEnvironments = new Registry<ClusterEnvironmentEntry>('cluster environment');

/** The first registered environment that recognises itself, or null: this process was started alone. */
export function detectClusterEnvironment(
  variables: Readonly<Record<string, string | undefined>>,
): ClusterEnvironment | null {
  const entries = clusterEnvironments.names().map((name) => clusterEnvironments.get(name));
  for (const entry of entries.sort((a, b) => b.priority - a.priority)) {
    const environment = entry.detect(variables);
    if (environment !== null) return environment;
  }
  return null;
}
