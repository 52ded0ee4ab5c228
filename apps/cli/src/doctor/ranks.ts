/** By what ranks can talk here, and which launcher, if any, has started this process. */
import { clusterEnvironments, detectClusterEnvironment, processGroups, TensorloomError } from '@tensorloom/core';
import '@tensorloom/strategies';

export interface ProcessGroupFinding {
  readonly name: string;
  readonly summary: string;
  readonly available: boolean;
  /** What is missing and how to get it. */
  readonly reason?: string;
}

export interface EnvironmentFinding {
  /** Undefined: started alone. */
  readonly name?: string;
  readonly description: string;
  /** Environments that would be recognised. */
  readonly known: readonly string[];
}

export async function examineProcessGroups(): Promise<ProcessGroupFinding[]> {
  return Promise.all(
    processGroups.names().map(async (name) => {
      const entry = processGroups.get(name);
      const reason = await entry.unavailable();
      return { name, summary: entry.summary, available: reason === null, ...(reason === null ? {} : { reason }) };
    }),
  );
}

export function examineEnvironment(variables: Readonly<Record<string, string | undefined>>): EnvironmentFinding {
  const known = clusterEnvironments.names();
  try {
    const environment = detectClusterEnvironment(variables);
    if (environment === null) return { description: 'none: started alone', known };
    const { name, globalRank, worldSize, numNodes, mainAddress, mainPort } = environment;
    return {
      name,
      description: `${name}: rank ${globalRank} of ${worldSize}, on ${numNodes} ${numNodes === 1 ? 'machine' : 'machines'}, meeting at ${mainAddress}:${mainPort}`,
      known,
    };
  } catch (error) {
    if (!(error instanceof TensorloomError)) throw error;
    return { description: `variables that cannot be used: ${error.message}`, known };
  }
}
