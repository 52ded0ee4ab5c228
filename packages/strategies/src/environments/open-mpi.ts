/** Ranks that Open MPI's mpirun started. */
import { createHash } from 'node:crypto';
import { clusterEnvironments, type ClusterEnvironment } from '@tensorloom/core';
import { checked, jobIdOf, VariableReader, type Variables } from './variables.ts';

/**
 * Reads OMPI_COMM_WORLD_RANK (or PMIX_RANK), _SIZE, _LOCAL_RANK, _LOCAL_SIZE. MPI needs no address to meet at; the `ws`
 * group on several nodes takes MASTER_ADDR and MASTER_PORT (`mpirun -x MASTER_ADDR=…`).
 * @throws TensorloomError `BAD_OPTION`
 */
export function detectOpenMpi(variables: Variables): ClusterEnvironment | null {
  if ((variables['OMPI_COMM_WORLD_RANK'] ?? variables['OMPI_COMM_WORLD_SIZE']) === undefined) return null;
  const reader = new VariableReader('Open MPI', variables);
  const globalRank = reader.requiredInteger(
    "this process's rank",
    0,
    Number.MAX_SAFE_INTEGER,
    'OMPI_COMM_WORLD_RANK',
    'PMIX_RANK',
  );
  const worldSize = reader.requiredCount('the number of ranks', 'OMPI_COMM_WORLD_SIZE');
  const localWorldSize = reader.requiredCount('the number of ranks on this node', 'OMPI_COMM_WORLD_LOCAL_SIZE');
  const numNodes = reader.count('OMPI_MCA_orte_num_nodes') ?? Math.ceil(worldSize / localWorldSize);
  // The same on all ranks of one mpirun, another for each mpirun: in Open MPI 4, and from PMIx in 5.
  const run = reader.text('OMPI_MCA_ess_base_jobid', 'PMIX_NAMESPACE') ?? 'run';
  const environment: ClusterEnvironment = {
    name: 'Open MPI',
    globalRank,
    localRank: reader.requiredInteger(
      "this process's rank within its node",
      0,
      Number.MAX_SAFE_INTEGER,
      'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
    localWorldSize,
    // mpirun does not number the nodes for its ranks; by default it fills one after the other.
    nodeRank: Math.min(numNodes - 1, Math.floor(globalRank / localWorldSize)),
    numNodes,
    worldSize,
    // Fails by a name that says what to do, and only if somebody connects.
    mainAddress:
      reader.text('MASTER_ADDR') ?? (numNodes === 1 ? '127.0.0.1' : 'set-MASTER_ADDR-to-the-host-of-rank-0.invalid'),
    mainPort: reader.port('MASTER_PORT') ?? portOf(run),
    jobId: jobIdOf('mpi', run),
    token: reader.token(),
    preferredProcessGroup: 'mpi',
  };
  return checked(environment, {
    rank: 'OMPI_COMM_WORLD_RANK',
    world: 'OMPI_COMM_WORLD_SIZE',
    localRank: 'OMPI_COMM_WORLD_LOCAL_RANK',
    localWorld: 'OMPI_COMM_WORLD_LOCAL_SIZE',
    node: 'OMPI_COMM_WORLD_RANK',
  });
}

/** 15000 to 24999: below the ports that systems hand out for outgoing connections. */
function portOf(run: string): number {
  return 15_000 + (createHash('sha256').update(run).digest().readUInt32BE(0) % 10_000);
}

clusterEnvironments.register('open-mpi', {
  priority: 80,
  summary: "Open MPI's mpirun: OMPI_COMM_WORLD_RANK and its kin; process group mpi",
  detect: detectOpenMpi,
});
