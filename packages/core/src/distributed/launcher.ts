/** Starting the other ranks of a script that asks for several devices and was started alone. */

/** What is started: this very command line again, once per rank. */
export interface LaunchRequest {
  readonly devices: number;
  readonly numNodes: number;
  /** Which of the machine's devices, where the user has listed them; else all, in order. */
  readonly deviceIndices?: readonly number[];
  /** Compute threads of each rank; default: the machine's, divided among the ranks. */
  readonly threads?: number;
}

/** Starts all ranks of this node, watches over them, and gives the exit code of the whole. */
export type RankLauncher = (request: LaunchRequest) => Promise<number>;

let registered: RankLauncher | undefined;

/** The package `strategies` registers its launcher here. */
export function registerRankLauncher(launcher: RankLauncher): void {
  registered = launcher;
}

export function rankLauncher(): RankLauncher | undefined {
  return registered;
}
