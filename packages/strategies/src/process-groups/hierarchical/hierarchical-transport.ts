/** Shared memory within each host, WebSockets between hosts. */
import { bytesPerElement, TensorloomError, viewOf, type CollectiveArray } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { scaleToMean } from '../reduce.ts';
import { section } from '../sections.ts';
import type { ShmTransport } from '../shm/shm-transport.ts';
import type { Transport } from '../transport.ts';
import type { WsTransport } from '../ws/index.ts';
import { hostsOf, type Hosts } from './hosts.ts';

/** Transports over the same ranks. */
export interface HierarchicalParts {
  /** All ranks over WebSockets. */
  readonly flat: WsTransport;
  /** The ranks of this host; null if there is one only. */
  readonly local: ShmTransport | null;
  /** The first rank of each host; null on the others. */
  readonly leaders: WsTransport | null;
  readonly hosts: Hosts;
}

/**
 * All-reduce, reduce-scatter, all-gather, broadcast and barrier go through one leader of each host, so that the links between
 * hosts carry each element once for each host and not once for each rank. Other calls go straight over WebSockets.
 *
 * So ranks wait for some that wait for others. Whoever's time is over asks all ranks who has not come to the call, and so names no
 * one who only waits, too.
 */
export class HierarchicalTransport implements Transport {
  readonly name = 'shm+ws';
  readonly rank: number;
  readonly worldSize: number;
  readonly #parts: HierarchicalParts;

  constructor(parts: HierarchicalParts) {
    this.#parts = parts;
    const { flat, local, leaders } = parts;
    this.rank = flat.rank;
    this.worldSize = flat.worldSize;
    flat.onFailed = (error) => local?.fail(error);
    if (leaders !== null) leaders.patience.whole = flat.patience;
  }

  async execute(call: CollectiveCall): Promise<void> {
    try {
      await this.#execute(call);
    } catch (error) {
      // Ranks that wait in another part must hear of it.
      for (const part of this.#all()) failPart(part, error as Error);
      throw error;
    }
  }

  async #execute(call: CollectiveCall): Promise<void> {
    const { flat, local, leaders, hosts } = this.#parts;
    // Two ranks alone do not make the others of their host come together.
    if (call.kind === 'send' || call.kind === 'receive') return flat.execute(call);
    // On one host there is no link; and where each host has one rank, there is nothing but links.
    if (hosts.members.length === 1 && local !== null) return this.#onHost(call);
    if (hosts.members.length === this.worldSize || !this.#isAcross(call)) return flat.execute(call);
    flat.countCall();
    switch (call.kind) {
      case 'all-reduce':
        return this.#allReduce(call);
      case 'broadcast':
        return this.#broadcast(call);
      case 'reduce-scatter':
        return this.#reduceScatter(call);
      case 'all-gather':
        return this.#allGather(call);
      default:
        await this.#onHost(call);
        await leaders?.execute(call);
        await this.#onHost(call);
    }
  }

  #isAcross({ kind }: CollectiveCall): boolean {
    if (kind === 'reduce-scatter' || kind === 'all-gather') return this.#parts.hosts.isContiguous;
    return kind === 'all-reduce' || kind === 'broadcast' || kind === 'barrier';
  }

  async #allReduce(call: CollectiveCall): Promise<void> {
    const data = call.output as CollectiveArray;
    const isMean = call.op === 'mean';
    const folded: CollectiveCall = isMean ? { ...call, op: 'sum' } : call;
    await this.#onHost(folded);
    await this.#parts.leaders?.execute(folded);
    await this.#onHost({ ...call, kind: 'broadcast', op: null, peer: 0 });
    if (isMean) scaleToMean(data, this.worldSize, call.elementType);
  }

  /** From the source to its host's leader and the rest of its host, then to the other leaders, then within their hosts. */
  async #broadcast(call: CollectiveCall): Promise<void> {
    const { hosts, leaders } = this.#parts;
    const host = hosts.members.findIndex((members) => members.includes(call.peer));
    const isHost = host === hosts.own;
    if (isHost) await this.#onHost({ ...call, peer: (hosts.members[host] as readonly number[]).indexOf(call.peer) });
    await leaders?.execute({ ...call, peer: host });
    if (!isHost) await this.#onHost({ ...call, peer: 0 });
  }

  /** Each host's sum to its leader; each leader takes its host's part of the sum of all; each rank its own of that. */
  async #reduceScatter(call: CollectiveCall): Promise<void> {
    const { leaders, hosts } = this.#parts;
    const { elementType: type, counts } = call;
    const input = call.input as CollectiveArray;
    const output = call.output as CollectiveArray;
    const members = hosts.members[hosts.own] as readonly number[];
    const hostCounts = hosts.members.map((ranks) => sum(ranks.map((rank) => counts[rank] as number)));
    const op = call.op === 'mean' ? 'sum' : call.op;
    const even = evenCounts(input.length, members.length);
    const own = members.indexOf(this.rank);
    const piece = temporary(type, even[own] as number);
    await this.#onHost({ ...call, output: piece, op, counts: even }, piece);
    const whole = leaders === null ? null : temporary(type, input.length);
    await this.#onHost(
      { ...call, kind: 'gather', op: null, input: piece, output: whole, peer: 0, counts: even },
      piece,
      whole,
    );
    const hostPart = leaders === null ? null : temporary(type, hostCounts[hosts.own] as number);
    await leaders?.execute({ ...call, op, input: whole, output: hostPart, counts: hostCounts });
    const partCounts = members.map((rank) => counts[rank] as number);
    await this.#onHost(
      { ...call, kind: 'scatter', op: null, input: hostPart, output, peer: 0, counts: partCounts },
      hostPart,
      output,
    );
    if (call.op === 'mean') scaleToMean(output, this.worldSize, type);
  }

  async #allGather(call: CollectiveCall): Promise<void> {
    const { leaders, hosts } = this.#parts;
    const { counts } = call;
    const output = call.output as CollectiveArray;
    const members = hosts.members[hosts.own] as readonly number[];
    const hostCounts = hosts.members.map((ranks) => sum(ranks.map((rank) => counts[rank] as number)));
    const start = sum(hostCounts.slice(0, hosts.own));
    const hostPart = section(output, start, start + (hostCounts[hosts.own] as number));
    const isLeader = leaders !== null;
    const partCounts = members.map((rank) => counts[rank] as number);
    const target = isLeader ? hostPart : null;
    await this.#onHost({ ...call, kind: 'gather', output: target, peer: 0, counts: partCounts }, call.input, target);
    await leaders?.execute({ ...call, input: hostPart, output, counts: hostCounts });
    await this.#onHost({ ...call, kind: 'broadcast', input: output, output, peer: 0, counts: [output.length] });
  }

  /** On this host's ranks; a host's only rank is done: it copies. */
  async #onHost(
    call: CollectiveCall,
    from: CollectiveArray | null = null,
    to: CollectiveArray | null = from,
  ): Promise<void> {
    const { flat, local, hosts } = this.#parts;
    if (local === null) {
      const source = call.kind === 'reduce-scatter' ? call.input : from;
      if (source !== null && to !== null && !isSamePlace(source, to)) to.set(source);
      return;
    }
    // Other hosts must go on hearing from this one while its ranks wait for each other.
    const isAlone = hosts.members.length === 1;
    await local.comeTogether(call.kind, isAlone ? undefined : () => flat.patience.lateness(call, false));
    local.execute(call);
  }

  async split(ranks: readonly number[], id: string): Promise<Transport | null> {
    const { flat, local, hosts } = this.#parts;
    const newFlat = await flat.split(ranks, id);
    if (newFlat === null) return null;
    const ordered = hosts.members.map((members) =>
      members.filter((rank) => ranks.includes(rank)).sort((a, b) => ranks.indexOf(a) - ranks.indexOf(b)),
    );
    const own = ordered[hosts.own] as readonly number[];
    const whole = hosts.members[hosts.own] as readonly number[];
    const newLocal =
      local === null || own.length < 2
        ? null
        : await local.split(
            own.map((rank) => whole.indexOf(rank)),
            `${id}.host-${hosts.own}`,
          );
    const newHosts = hostsOf(
      ordered.map((members) => members.map((rank) => ranks.indexOf(rank))),
      newFlat.rank,
    );
    return joinParts(newFlat, newLocal, newHosts, id);
  }

  abort(reason: string): void {
    for (const part of this.#all()) part.abort(reason);
  }

  async close(): Promise<void> {
    for (const part of this.#all()) await part.close();
  }

  /** Those made last first. */
  #all(): Transport[] {
    const { flat, local, leaders } = this.#parts;
    return [leaders, local, flat].filter((part) => part !== null);
  }
}

/** Adds the leaders' transport. All ranks of `flat` call it. */
export async function joinParts(
  flat: WsTransport,
  local: ShmTransport | null,
  hosts: Hosts,
  id: string,
): Promise<HierarchicalTransport> {
  const leaders = await flat.split(
    hosts.members.map((members) => members[0] as number),
    `${id}.leaders`,
  );
  return new HierarchicalTransport({ flat, local, leaders, hosts });
}

/** With the error's own code where the transport can, else as an abort. */
function failPart(part: Transport & { readonly fail?: (error: TensorloomError) => void }, error: Error): void {
  if (error instanceof TensorloomError && part.fail !== undefined) part.fail(error);
  else part.abort(error.message);
}

function temporary(type: CollectiveCall['elementType'], length: number): CollectiveArray {
  return viewOf(type, new ArrayBuffer(length * bytesPerElement(type)), 0, length);
}

function isSamePlace(a: CollectiveArray, b: CollectiveArray): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset;
}

function evenCounts(length: number, parts: number): number[] {
  const size = Math.ceil(length / parts);
  return Array.from({ length: parts }, (_, index) => Math.max(0, Math.min(size, length - index * size)));
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
