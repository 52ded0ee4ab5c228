/** Pods of a Kubernetes indexed Job: one rank each, or several that something in the pod starts. */
import { clusterEnvironments, type ClusterEnvironment } from '@tensorloom/core';
import { checked, jobIdOf, VariableReader, type Variables } from './variables.ts';

/** Where rank 0 listens unless MASTER_PORT says otherwise. */
const DEFAULT_PORT = 29_500;

/**
 * Reads JOB_COMPLETION_INDEX (which Kubernetes sets), TENSORLOOM_NODES (the Job's `completions`), MASTER_ADDR (pod 0 through a
 * headless Service), MASTER_PORT (default 29500), and LOCAL_RANK and LOCAL_WORLD_SIZE where a pod has several ranks.
 * An indexed Job without TENSORLOOM_NODES and MASTER_ADDR is a batch of independent processes.
 * @throws TensorloomError `BAD_OPTION`
 */
export function detectKubernetes(variables: Variables): ClusterEnvironment | null {
  if (variables['JOB_COMPLETION_INDEX'] === undefined) return null;
  if ((variables['TENSORLOOM_NODES'] ?? variables['MASTER_ADDR']) === undefined) return null;
  const reader = new VariableReader('Kubernetes', variables);
  const nodeRank = reader.requiredInteger('the index of this pod', 0, Number.MAX_SAFE_INTEGER, 'JOB_COMPLETION_INDEX');
  const numNodes = reader.requiredCount('the number of pods', 'TENSORLOOM_NODES');
  const mainAddress = reader.requiredText('the name of pod 0 in its headless Service', 'MASTER_ADDR');
  const mainPort = reader.port('MASTER_PORT') ?? DEFAULT_PORT;
  const several = (variables['LOCAL_RANK'] ?? variables['LOCAL_WORLD_SIZE']) !== undefined;
  const localWorldSize = several ? reader.requiredCount('the number of ranks in each pod', 'LOCAL_WORLD_SIZE') : 1;
  const localRank = several
    ? reader.requiredInteger("this process's rank in its pod", 0, Number.MAX_SAFE_INTEGER, 'LOCAL_RANK')
    : 0;
  const environment: ClusterEnvironment = {
    name: 'Kubernetes',
    globalRank: nodeRank * localWorldSize + localRank,
    localRank,
    localWorldSize,
    nodeRank,
    numNodes,
    worldSize: numNodes * localWorldSize,
    mainAddress,
    mainPort,
    jobId:
      reader.text('TENSORLOOM_JOB_ID') === undefined
        ? jobIdOf(mainAddress, mainPort)
        : jobIdOf(reader.text('TENSORLOOM_JOB_ID')),
    token: reader.token(),
  };
  if (nodeRank >= numNodes)
    throw reader.bad('JOB_COMPLETION_INDEX', `expected 0 to ${numNodes - 1}, as TENSORLOOM_NODES is ${numNodes}`);
  return checked(environment, {
    rank: 'JOB_COMPLETION_INDEX',
    world: 'TENSORLOOM_NODES',
    localRank: 'LOCAL_RANK',
    localWorld: 'LOCAL_WORLD_SIZE',
    node: 'JOB_COMPLETION_INDEX',
  });
}

clusterEnvironments.register('kubernetes', {
  priority: 70,
  summary: 'an indexed Job: JOB_COMPLETION_INDEX, TENSORLOOM_NODES, MASTER_ADDR',
  detect: detectKubernetes,
});
