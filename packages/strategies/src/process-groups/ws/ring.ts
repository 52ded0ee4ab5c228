/**
 * Collectives on a ring: each rank sends to the next and receives from the one before, so that every link carries the same load, whatever
 * the number of ranks (Patarasu & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations"). A chunk goes on to the next rank as soon as it is there.
 */
import type { CollectiveArray } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { scaleToMean } from '../reduce.ts';
import { copyInto, emptyLike, partsOf } from './collectives.ts';
import { bytesOf, sliceOf, type Slot } from './slot.ts';
import type { WsTransport } from './ws-transport.ts';

/**
 * After the reduce-scatter, rank r has the sum of part r; then the sums go round. The last rank to add to a part sends it to
 * all, so all have the same bits.
 */
export async function allReduceRing(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const { rank, worldSize } = group;
  const data = call.output!;
  const parts = partsOf(data, evenCounts(data.length, worldSize));
  const part = (index: number) => parts[modulo(index, worldSize)]!;
  const previous = modulo(rank - 1, worldSize);
  const steps = worldSize - 1;
  // What is sent from here is overwritten by its sum, which cannot be known before the next rank has received it.
  const slots: Slot[] = [];
  for (let step = 0; step < steps; step++) slots.push(group.expect(previous, step, part(rank - 2 - step), call.op));
  for (let step = 0; step < steps; step++) slots.push(group.expect(previous, steps + step, part(rank - 1 - step)));
  await neighboursCome(group, text);
  const next = (rank + 1) % worldSize;
  const own = part(rank);
  const scale = call.op === 'mean' ? (from: number, to: number) => scaleBytes(own, from, to, call, worldSize) : null;
  for (let step = 0; step < steps; step++)
    await group.sendBulk(next, step, bytesOf(part(rank - 1 - step)), step === 0 ? null : slots[step - 1]!);
  for (let step = 0; step < steps; step++)
    await group.sendBulk(
      next,
      steps + step,
      bytesOf(part(rank - step)),
      slots[steps - 1 + step],
      step === 0 ? scale : null,
    );
  for (const slot of slots) await slot.filled();
  await group.link(next).released();
}

export async function reduceScatterRing(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const { rank, worldSize } = group;
  const inputs = partsOf(call.input!, call.counts);
  const output = call.output!;
  const part = (index: number) => inputs[modulo(index, worldSize)]!;
  const previous = modulo(rank - 1, worldSize);
  const next = (rank + 1) % worldSize;
  const own = part(rank);
  const isInPlace = overlaps(output, call.input!) && output.byteOffset !== own.byteOffset;
  const result = isInPlace ? emptyLike(output, call.elementType) : output;
  const steps = worldSize - 1;
  const sums: CollectiveArray[] = [];
  const slots: Slot[] = [];
  for (let step = 0; step < steps; step++) {
    const source = part(rank - 2 - step);
    // The input stays as it is.
    const sum = step === steps - 1 ? result : emptyLike(source, call.elementType);
    copyInto(sum, source);
    sums.push(sum);
    slots.push(group.expect(previous, step, sum, call.op));
  }
  await neighboursCome(group, text);
  await group.sendBulk(next, 0, bytesOf(part(rank - 1)));
  for (let step = 1; step < steps; step++) await group.sendBulk(next, step, bytesOf(sums[step - 1]!), slots[step - 1]);
  await slots[steps - 1]!.filled();
  if (call.op === 'mean') scaleToMean(result, worldSize, call.elementType);
  await group.link(next).released();
  if (isInPlace) output.set(result);
}

export async function allGatherRing(group: WsTransport, call: CollectiveCall, text: string): Promise<void> {
  const { rank, worldSize } = group;
  const parts = partsOf(call.output!, call.counts);
  const part = (index: number) => parts[modulo(index, worldSize)]!;
  const previous = modulo(rank - 1, worldSize);
  const next = (rank + 1) % worldSize;
  copyInto(part(rank), call.input);
  const slots: Slot[] = [];
  for (let step = 0; step < worldSize - 1; step++) slots.push(group.expect(previous, step, part(rank - 1 - step)));
  await neighboursCome(group, text);
  for (let step = 0; step < worldSize - 1; step++)
    await group.sendBulk(next, step, bytesOf(part(rank - step)), step === 0 ? null : slots[step - 1]!);
  for (const slot of slots) await slot.filled();
  await group.link(next).released();
}

async function neighboursCome(group: WsTransport, text: string): Promise<void> {
  const { rank, worldSize } = group;
  const neighbours = [...new Set([(rank + 1) % worldSize, modulo(rank - 1, worldSize)])];
  for (const peer of neighbours) group.announce(peer, text);
  for (const peer of neighbours) await group.comes(peer);
}

function scaleBytes(array: CollectiveArray, from: number, to: number, call: CollectiveCall, worldSize: number): void {
  const size = array.BYTES_PER_ELEMENT;
  scaleToMean(sliceOf(array, from / size, to / size), worldSize, call.elementType);
}

function evenCounts(length: number, parts: number): number[] {
  return Array.from(
    { length: parts },
    (_, part) => Math.floor(((part + 1) * length) / parts) - Math.floor((part * length) / parts),
  );
}

function overlaps(a: CollectiveArray, b: CollectiveArray): boolean {
  return (
    a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength
  );
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
