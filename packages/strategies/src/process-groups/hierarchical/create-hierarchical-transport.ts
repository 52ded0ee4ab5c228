/** Meets the other ranks: all over WebSockets, those of this host around shared memory. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { ShmTransport, shmUnavailable } from '../shm/shm-transport.ts';
import type { TransportFactory } from '../transport.ts';
import { createWsTransport } from '../ws/index.ts';
import { hostsOf } from './hosts.ts';
import { joinParts } from './hierarchical-transport.ts';

/** Options are those of `ws`. @throws TensorloomError `RANK_LOST`, `TIMEOUT`, `UNSUPPORTED` */
export const createHierarchicalTransport: TransportFactory = async (request) => {
  const missing = shmUnavailable();
  if (missing !== null)
    throw new TensorloomError('UNSUPPORTED', `The process group 'shm+ws' cannot be used: ${missing}. Use 'ws'.`);
  const flat = await createWsTransport(request);
  try {
    const { rank, worldSize, nodeRank } = request;
    const nodes = new Int32Array(worldSize);
    const input = Int32Array.of(nodeRank);
    await flat.execute({
      kind: 'all-gather',
      input,
      output: nodes,
      elementType: 'int32',
      op: null,
      peer: -1,
      tag: 0,
      counts: new Array<number>(worldSize).fill(1),
      receiveCounts: [],
      name: '',
    });
    const members = [...new Set(nodes)].map((node) => [...nodes.keys()].filter((each) => nodes[each] === node));
    const hosts = hostsOf(members, rank);
    const own = hosts.members[hosts.own] as readonly number[];
    const { jobId, token, collectiveTimeoutMs, rankTimeoutMs } = request;
    const place = { id: `host-${nodeRank}`, rank: own.indexOf(rank), globalRanks: own };
    const local =
      own.length < 2 ? null : await ShmTransport.meet({ jobId, token, collectiveTimeoutMs, rankTimeoutMs }, place);
    return await joinParts(flat, local, hosts, '');
  } catch (error) {
    flat.abort(`rank ${request.rank} could not join: ${(error as Error).message}`);
    throw error;
  }
};
