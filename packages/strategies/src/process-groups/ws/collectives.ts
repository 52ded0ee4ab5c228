/** The algorithms of collectives: who sends what to whom, and in which order. */
import { bytesPerElement, viewOf, type CollectiveArray, type ElementType } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { reduceInto, scaleToMean } from '../reduce.ts';
import { EAGER_BYTES } from './frames.ts';
import { allGatherRing, allReduceRing, reduceScatterRing } from './ring.ts';
import { bytesOf, sliceOf } from './slot.ts';
import type { WsTransport } from './ws-transport.ts';

/** Beyond so many ranks, small all-reduces go round the ring too: direct exchange costs each rank a message per other. */
const MAX_DIRECT_RANKS = 16;

/** @param text what this rank announces */
export async function runCollective(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  if (group.worldSize === 1) {
    copyInto(call.output, call.input);
    return;
  }
  switch (call.kind) {
    case 'all-reduce':
      return group.worldSize <= MAX_DIRECT_RANKS && call.output!.byteLength <= EAGER_BYTES
        ? allReduceDirect(group, call, text)
        : allReduceRing(group, call, text);
    case 'reduce-scatter':
      return reduceScatterRing(group, call, text);
    case 'all-gather':
      return allGatherRing(group, call, text);
    case 'broadcast':
      return broadcast(group, call, text);
    case 'gather':
      return gather(group, call, text);
    case 'scatter':
      return scatter(group, call, text);
    case 'all-to-all':
      return allToAll(group, call, text);
    default:
      return barrier(group, text);
  }
}

async function barrier(group: WsTransport, text: string): Promise<void> {
  for (const peer of group.peers()) group.announce(peer, text);
  await allCome(group);
}

async function allCome(group: WsTransport): Promise<void> {
  for (const peer of group.peers()) await group.comes(peer);
}

/** Each rank gets everyone's data and adds them up in the order of ranks: one message's time, and the same bits everywhere. */
async function allReduceDirect(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const { elementType: type } = call;
  const data = call.output!;
  const parts = Array.from({ length: group.worldSize }, (_, rank) =>
    rank === group.rank ? data : emptyLike(data, type),
  );
  const slots = [...group.peers()].map((peer) => group.expect(peer, 0, parts[peer]!));
  for (const peer of group.peers()) group.sendEager(peer, 0, text, bytesOf(data));
  await allCome(group);
  for (const slot of slots) await slot.filled();
  const sum = parts[0] === data ? data : parts[0]!;
  for (let rank = 1; rank < group.worldSize; rank++) reduceInto(sum, parts[rank]!, call.op!, type);
  if (call.op === 'mean') scaleToMean(sum, group.worldSize, type);
  if (sum !== data) data.set(sum);
}

/** Small data from the source to each; large data along the chain of ranks, chunk after chunk. */
async function broadcast(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const data = call.output!;
  const { rank, worldSize } = group;
  const { peer: source } = call;
  const isSmall = data.byteLength <= EAGER_BYTES;
  const previous = isSmall ? source : (rank + worldSize - 1) % worldSize;
  const next = (rank + 1) % worldSize;
  const slot = rank === source ? null : group.expect(previous, 0, data);
  for (const peer of group.peers())
    if (rank === source && isSmall) group.sendEager(peer, 0, text, bytesOf(data));
    else group.announce(peer, text);
  await allCome(group);
  if (!isSmall && next !== source) {
    await group.sendBulk(next, 0, bytesOf(data), slot);
    await group.link(next).released();
  }
  if (slot !== null) await slot.filled();
}

async function gather(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const { peer: destination } = call;
  const parts = call.output === null ? [] : partsOf(call.output, call.counts);
  const slots = group.rank === destination ? [...group.peers()].map((peer) => group.expect(peer, 0, parts[peer]!)) : [];
  for (const peer of group.peers()) group.announce(peer, text);
  await allCome(group);
  if (group.rank === destination) copyInto(parts[group.rank]!, call.input);
  else {
    await group.sendBulk(destination, 0, bytesOf(call.input!));
    await group.link(destination).released();
  }
  for (const slot of slots) await slot.filled();
}

async function scatter(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const { peer: source } = call;
  const slot = group.rank === source ? null : group.expect(source, 0, call.output!);
  for (const peer of group.peers()) group.announce(peer, text);
  await allCome(group);
  if (slot !== null) return slot.filled();
  const parts = partsOf(call.input!, call.counts);
  await Promise.all([...group.peers()].map((peer) => sendAll(group, peer, parts[peer]!)));
  copyInto(call.output, parts[group.rank]!);
}

async function allToAll(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const inputs = partsOf(call.input!, call.counts);
  const outputs = partsOf(call.output!, call.receiveCounts);
  const slots = [...group.peers()].map((peer) => group.expect(peer, 0, outputs[peer]!));
  for (const peer of group.peers()) group.announce(peer, text, inputs[peer]!.byteLength);
  await allCome(group);
  copyInto(outputs[group.rank]!, inputs[group.rank]!);
  await Promise.all([...group.peers()].map((peer) => sendAll(group, peer, inputs[peer]!)));
  for (const slot of slots) await slot.filled();
}

async function sendAll(group: WsTransport, peer: number, data: CollectiveArray): Promise<void> {
  await group.sendBulk(peer, 0, bytesOf(data));
  await group.link(peer).released();
}

/** An array's parts by rank. */
export function partsOf(array: CollectiveArray, counts: readonly number[]): CollectiveArray[] {
  let start = 0;
  return counts.map((count) => sliceOf(array, start, (start += count)));
}

export function emptyLike(array: CollectiveArray, type: ElementType): CollectiveArray {
  return viewOf(type, new ArrayBuffer(array.length * bytesPerElement(type)), 0, array.length);
}

/** Unless they are the same memory. */
export function copyInto(target: CollectiveArray | null, source: CollectiveArray | null): void {
  if (target === null || source === null) return;
  if (target.buffer === source.buffer && target.byteOffset === source.byteOffset) return;
  target.set(source);
}
