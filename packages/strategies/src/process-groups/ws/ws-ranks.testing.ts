/** Jobs for tests of the `ws` transport: all ranks in this process. */
import { randomBytes } from 'node:crypto';
import type { CollectiveArray } from '@tensorloom/core/distributed';
import { elementTypeOf } from '@tensorloom/core/distributed';
import { freePort } from '../../launcher/free-port.ts';
import type { CollectiveCall, CollectiveKind } from '../collective-call.ts';
import type { Transport, TransportRequest } from '../transport.ts';
import { createWsTransport } from './create-ws-transport.ts';
import type { DialOptions } from './dialer.ts';
import { PROTOCOL_VERSION } from './handshake.ts';

export async function requestsFor(
  worldSize: number,
  overrides: Partial<TransportRequest> = {},
): Promise<TransportRequest[]> {
  const common = {
    worldSize,
    localWorldSize: worldSize,
    nodeRank: 0,
    numNodes: 1,
    mainAddress: '127.0.0.1',
    mainPort: await freePort(),
    jobId: `test-${randomBytes(6).toString('hex')}`,
    token: 'a token of the test',
    collectiveTimeoutMs: 30_000,
    rankTimeoutMs: 20_000,
    options: {},
    ...overrides,
  };
  return Array.from({ length: worldSize }, (_, rank) => ({ ...common, rank, localRank: rank }));
}

/** All ranks of a job, connected. */
export async function startRanks(worldSize: number, overrides: Partial<TransportRequest> = {}): Promise<Transport[]> {
  return Promise.all((await requestsFor(worldSize, overrides)).map((request) => createWsTransport(request)));
}

export async function closeRanks(ranks: readonly Transport[]): Promise<void> {
  await Promise.all(ranks.map((rank) => rank.close()));
}

/** A call with what matters filled in. */
export function call(
  kind: CollectiveKind,
  input: CollectiveArray | null,
  output: CollectiveArray | null,
  rest: Partial<CollectiveCall> = {},
): CollectiveCall {
  const array = input ?? output;
  return {
    kind,
    input,
    output,
    elementType: array === null ? 'uint8' : elementTypeOf(array),
    op: null,
    peer: -1,
    tag: 0,
    counts: array === null ? [] : [array.length],
    receiveCounts: [],
    name: '',
    ...rest,
  };
}

/** An all-reduce in place. */
export function sumOf(data: CollectiveArray): CollectiveCall {
  return call('all-reduce', data, data, { op: 'sum' });
}

/** What became of the calls of all ranks: messages of errors, or null. */
export async function outcomes(calls: readonly unknown[]): Promise<(Error | null)[]> {
  const settled = await Promise.allSettled(calls);
  return settled.map((result) => (result.status === 'rejected' ? (result.reason as Error) : null));
}

/** A connection to the main rank of a world of two by somebody who takes the part of rank 1. */
export function asRankOne(main: TransportRequest, key: string): DialOptions {
  const { jobId: job, mainPort: port } = main;
  const who = { version: PROTOCOL_VERSION, job, rank: 1, to: 0, worldSize: 2, instance: 'a stranger' };
  return {
    host: '127.0.0.1',
    port,
    key,
    tls: undefined,
    maxFrameBytes: 1_000_000,
    timeoutMs: 5000,
    hello: () => ({ ...who, host: '127.0.0.1', port: 1, received: 0, nonce: 'a nonce' }),
  };
}
