/** Meets the other ranks: all over WebSockets, those of this host around shared memory. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { ShmTransport, shmUnavailable } from '../shm/shm-transport.ts';
import type { Transport, TransportFactory, TransportRequest } from '../transport.ts';
import { createWsTransport } from '../ws/index.ts';
import { hostsOf } from './hosts.ts';
import { joinParts } from './hierarchical-transport.ts';

/**
 * Options are those of `ws`.
 * @throws TensorloomError `RANK_LOST`, `TIMEOUT`; on all ranks `UNSUPPORTED` naming those without shared memory
 */
export const createHierarchicalTransport: TransportFactory = (request) => create(request, false);

/** As `createHierarchicalTransport`, but over WebSockets alone where there is nothing to share, or a rank that cannot: as all ranks agree. */
export const createSharingTransport: TransportFactory = (request) => create(request, true);

async function create(request: TransportRequest, mayBeFlat: boolean): Promise<Transport> {
  const flat = await createWsTransport(request);
  try {
    const { rank, nodeRank } = request;
    const { nodes, without } = await gatherHosts(flat, nodeRank, shmUnavailable() === null);
    const members = [...new Set(nodes)].map((node) => [...nodes.keys()].filter((each) => nodes[each] === node));
    const isShared = members.some((ranks) => ranks.length > 1);
    if (mayBeFlat && (!isShared || without.length > 0)) return flat;
    if (without.length > 0)
      throw new TensorloomError(
        'UNSUPPORTED',
        `The process group 'shm+ws' cannot be used: rank ${without.join(', ')} of ${request.worldSize} cannot share memory (${shmUnavailable() ?? 'it can here'}). Use 'ws'.`,
      );
    const hosts = hostsOf(members, rank);
    const own = hosts.members[hosts.own] as readonly number[];
    const { jobId, token, collectiveTimeoutMs, rankTimeoutMs } = request;
    const place = { id: `host-${nodeRank}`, rank: own.indexOf(rank), globalRanks: own };
    // A host is silent to the others while its ranks wait for one of them in shared memory: they must find it out before that host is given up.
    const silenceMs = members.length > 1 ? rankTimeoutMs / 2 : rankTimeoutMs;
    const settings = { jobId, token, collectiveTimeoutMs, rankTimeoutMs, silenceMs };
    const local = own.length < 2 ? null : await ShmTransport.meet(settings, place);
    return await joinParts(flat, local, hosts, '');
  } catch (error) {
    flat.abort(`rank ${request.rank} could not join: ${(error as Error).message}`);
    throw error;
  }
}

/** On which host each rank is, and which ranks cannot share memory: variables of one rank do not tell it of the others. */
async function gatherHosts(
  flat: Transport,
  nodeRank: number,
  canShare: boolean,
): Promise<{ readonly nodes: readonly number[]; readonly without: readonly number[] }> {
  const told = new Int32Array(flat.worldSize * 2);
  await flat.execute({
    kind: 'all-gather',
    input: Int32Array.of(nodeRank, Number(canShare)),
    output: told,
    elementType: 'int32',
    op: null,
    peer: -1,
    tag: 0,
    counts: new Array<number>(flat.worldSize).fill(2),
    receiveCounts: [],
    name: '',
  });
  const ranks = Array.from({ length: flat.worldSize }, (_, rank) => rank);
  return {
    nodes: ranks.map((rank) => told[2 * rank] as number),
    without: ranks.filter((rank) => told[2 * rank + 1] === 0),
  };
}
