/** Where a rank learns who it is: from a launcher's variables, a scheduler's, or, alone, by itself. */

/** Who this process is among all ranks. */
export interface ClusterEnvironment {
  /** For logs: `single process`, `torchrun`, `SLURM`, … */
  readonly name: string;
  /** 0 .. worldSize - 1 over all nodes. */
  readonly globalRank: number;
  /** Rank within this node. */
  readonly localRank: number;
  readonly nodeRank: number;
  readonly worldSize: number;
  /** Where the ranks meet. */
  readonly mainAddress: string;
  readonly mainPort: number;
}

/** One process that is its own world. */
export class SingleProcessEnvironment implements ClusterEnvironment {
  readonly name = 'single process';
  readonly globalRank = 0;
  readonly localRank = 0;
  readonly nodeRank = 0;
  readonly worldSize = 1;
  readonly mainAddress = '127.0.0.1';
  /** No port is opened. */
  readonly mainPort = 0;
}
