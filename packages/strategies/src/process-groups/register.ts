/** Registers the process groups with core. */
import {
  processGroups,
  SingleProcessGroup,
  TensorloomError,
  type ProcessGroupEntry,
  type ProcessGroupRequest,
} from '@tensorloom/core';
import { chooseProcessGroup, makeProcessGroup, missingFor, type ProcessGroupName } from './make-process-group.ts';
import type { TransportRequest } from './transport.ts';

const COLLECTIVE_TIMEOUT_MS = 600_000;
const RANK_TIMEOUT_MS = 30_000;

function transportRequest({ environment, ...request }: ProcessGroupRequest): TransportRequest {
  return {
    rank: environment.globalRank,
    worldSize: environment.worldSize,
    localRank: environment.localRank,
    localWorldSize: environment.localWorldSize,
    nodeRank: environment.nodeRank,
    numNodes: environment.numNodes,
    mainAddress: environment.mainAddress,
    mainPort: environment.mainPort,
    jobId: environment.jobId,
    token: environment.token,
    collectiveTimeoutMs: request.collectiveTimeoutMs ?? COLLECTIVE_TIMEOUT_MS,
    rankTimeoutMs: request.rankTimeoutMs ?? RANK_TIMEOUT_MS,
    options: request.options,
  };
}

function entry(name: ProcessGroupName, summary: string): ProcessGroupEntry {
  return {
    summary,
    unavailable: () => missingFor(name),
    create: async (request) => {
      const missing = await missingFor(name);
      if (missing !== null)
        throw new TensorloomError('UNSUPPORTED', `Process group '${name}' cannot be used here: ${missing}.`);
      return makeProcessGroup(name, transportRequest(request));
    },
  };
}

processGroups.register('auto', {
  summary: 'mpi under mpirun, shm within a host, ws between hosts',
  unavailable: async () => null,
  create: async (request) => {
    if (request.environment.worldSize === 1) return new SingleProcessGroup();
    const transport = transportRequest(request);
    return makeProcessGroup(await chooseProcessGroup(transport, request.environment.preferredProcessGroup), transport);
  },
});
processGroups.register('shm', entry('shm', 'ranks of one host, over shared memory'));
processGroups.register('ws', entry('ws', 'ranks anywhere, over WebSockets'));
processGroups.register('shm+ws', entry('shm+ws', 'shared memory within each host, WebSockets between hosts'));
processGroups.register('mpi', entry('mpi', "ranks that mpirun or srun started, over Open MPI's library"));
processGroups.register('local', {
  summary: 'threads of one process; for tests, made by hand',
  unavailable: async () => null,
  create: async () => {
    throw new TensorloomError(
      'UNSUPPORTED',
      "Process group 'local' is for threads that share memory and cannot be asked for by name: construct a LocalProcessGroup in each thread. For processes of one host use 'shm'.",
    );
  },
});
