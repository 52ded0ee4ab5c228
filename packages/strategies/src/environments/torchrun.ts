/** Ranks that torchrun started, or anything else that sets its variables (Kubeflow's PyTorchJob, hand-made scripts). */
import { clusterEnvironments, type ClusterEnvironment } from '@tensorloom/core';
import { checked, jobIdOf, VariableReader, type Variables } from './variables.ts';

/**
 * Reads RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK (or NODE_RANK), GROUP_WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
 * Without LOCAL_RANK and LOCAL_WORLD_SIZE each rank counts as a node of its own.
 * @throws TensorloomError `BAD_OPTION`
 */
export function readTorchrunVariables(reader: VariableReader, jobId: string): ClusterEnvironment {
  const globalRank = reader.requiredInteger("this process's rank", 0, Number.MAX_SAFE_INTEGER, 'RANK');
  const worldSize = reader.requiredCount('the number of ranks', 'WORLD_SIZE');
  const localWorldSize =
    reader.count('LOCAL_WORLD_SIZE') ??
    // Half of the pair would leave ranks of one node unaware of each other.
    (reader.text('LOCAL_RANK') === undefined
      ? 1
      : reader.requiredCount('the number of ranks on this node', 'LOCAL_WORLD_SIZE'));
  const localRank =
    reader.text('LOCAL_WORLD_SIZE') === undefined
      ? 0
      : reader.requiredInteger("this process's rank within its node", 0, Number.MAX_SAFE_INTEGER, 'LOCAL_RANK');
  const numNodes = reader.count('GROUP_WORLD_SIZE') ?? worldSize / localWorldSize;
  if (!Number.isInteger(numNodes))
    throw reader.bad(
      'WORLD_SIZE',
      `expected a multiple of LOCAL_WORLD_SIZE, which is ${localWorldSize}, or GROUP_WORLD_SIZE (the number of nodes)`,
    );
  const nodeRank =
    reader.integer(0, Number.MAX_SAFE_INTEGER, 'GROUP_RANK', 'NODE_RANK') ?? Math.floor(globalRank / localWorldSize);
  const environment: ClusterEnvironment = {
    name: reader.environment,
    globalRank,
    localRank,
    localWorldSize,
    nodeRank,
    numNodes,
    worldSize,
    mainAddress: reader.requiredText('the host name or address of rank 0', 'MASTER_ADDR'),
    mainPort: reader.port('MASTER_PORT') ?? missingPort(reader),
    jobId,
    token: reader.token(),
  };
  return checked(environment, {
    rank: 'RANK',
    world: 'WORLD_SIZE',
    localRank: 'LOCAL_RANK',
    localWorld: 'LOCAL_WORLD_SIZE',
    node: 'GROUP_RANK',
  });
}

function missingPort(reader: VariableReader): never {
  throw reader.missing('the port where rank 0 listens, 1 to 65535', 'MASTER_PORT');
}

/** @throws TensorloomError `BAD_OPTION` */
export function detectTorchrun(variables: Variables): ClusterEnvironment | null {
  // Only RANK: scripts for Slurm often export WORLD_SIZE and MASTER_ADDR alone.
  if (variables['RANK'] === undefined) return null;
  const reader = new VariableReader('torchrun', variables);
  // The run id is 'none' unless the user names one; the port tells such jobs on one host apart.
  const jobId = jobIdOf(
    'torchrun',
    reader.text('TORCHELASTIC_RUN_ID'),
    reader.text('MASTER_PORT'),
    reader.text('TORCHELASTIC_RESTART_COUNT'),
  );
  return readTorchrunVariables(reader, jobId);
}

clusterEnvironments.register('torchrun', {
  priority: 90,
  summary: 'torchrun-style variables: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT',
  detect: detectTorchrun,
});
