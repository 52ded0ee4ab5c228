/** A scenario that makes every call with every element type and compares with what plain loops say. Returns how much it checked. */
import {
  bytesPerElement,
  type ArrayOf,
  type CollectiveArray,
  type ElementType,
  type ProcessGroup,
  type ReduceOp,
  type Work,
} from '@tensorloom/core/distributed';
import { halves } from '../process-groups/halves.ts';
import type { Scenario } from './scenario.testing.ts';

const TYPES: readonly ElementType[] = ['float32', 'float64', 'int32', 'uint8', 'float16', 'bfloat16'];
const OPS: readonly ReduceOp[] = ['sum', 'mean', 'max', 'min', 'product'];

export interface CallsInput {
  /** Elements of the float32 arrays that have to cross the edges of chunks. */
  readonly longLength: number;
}

/** Small whole numbers, so that every sum and product is exact in every type. They repeat every four elements. */
function valueOf(rank: number, index: number): number {
  return 1 + ((rank * 5 + index * 3) % 4);
}

function encode(type: ElementType, value: number): number {
  return type === 'float16' || type === 'bfloat16' ? halves[type].encode(value) : value;
}

function decode(type: ElementType, value: number): number {
  return type === 'float16' || type === 'bfloat16' ? halves[type].decode(value) : value;
}

function make<E extends ElementType>(
  group: ProcessGroup,
  type: E,
  length: number,
  value: (index: number) => number,
): ArrayOf[E] {
  const data = group.allocate(type, length);
  for (let i = 0; i < length; i++) (data as CollectiveArray)[i] = encode(type, value(i));
  return data;
}

class Checker {
  count = 0;
  check(what: string, type: ElementType, data: CollectiveArray, expected: (index: number) => number): void {
    // The mean of three whole numbers is the only inexact one.
    const tolerance = type === 'float16' || type === 'bfloat16' ? 2 ** -6 : 1e-6;
    for (let i = 0; i < data.length; i++) {
      const got = decode(type, data[i] as number);
      const want = expected(i);
      if (!(Math.abs(got - want) <= tolerance * want))
        throw new Error(`${what} ${type}[${data.length}]: element ${i} is ${got}, expected ${want}`);
    }
    this.count++;
  }
}

function reduced(op: ReduceOp, worldSize: number): (index: number) => number {
  const period = [0, 1, 2, 3].map((index) => {
    const values = Array.from({ length: worldSize }, (_, rank) => valueOf(rank, index));
    if (op === 'max') return Math.max(...values);
    if (op === 'min') return Math.min(...values);
    if (op === 'product') return values.reduce((a, b) => a * b);
    const sum = values.reduce((a, b) => a + b);
    return op === 'mean' ? sum / worldSize : sum;
  });
  return (index) => period[index % 4] as number;
}

export async function checkAllCalls(group: ProcessGroup, input: CallsInput): Promise<number> {
  const checker = new Checker();
  for (const type of TYPES) {
    const longest = type === 'float32' ? input.longLength : Math.floor(input.longLength / 7);
    for (const length of [0, 1, 37, longest]) await checkType(group, checker, type, length);
  }
  await checkPeers(group, checker, input.longLength);
  await group.barrier('the end');
  return checker.count;
}

async function checkType(group: ProcessGroup, checker: Checker, type: ElementType, length: number): Promise<void> {
  const { rank, worldSize } = group;
  const isWhole = type === 'int32' || type === 'uint8';
  const ranks = Array.from({ length: worldSize }, (_, r) => r);
  for (const op of OPS) {
    if (op === 'mean' && isWhole) continue;
    const data = make(group, type, length, (i) => valueOf(rank, i));
    await group.allReduce(data, op);
    const expected = reduced(op, worldSize);
    checker.check(`all-reduce ${op}`, type, data, expected);
    const counts = ranks.map((r) => (r === 1 ? 0 : length + r));
    const start = counts.slice(0, rank).reduce((a, b) => a + b, 0);
    const whole = make(
      group,
      type,
      counts.reduce((a, b) => a + b, 0),
      (i) => valueOf(rank, i),
    );
    const part = group.allocate(type, counts[rank] as number);
    await group.reduceScatter(whole, part, op, counts);
    checker.check(`reduce-scatter ${op}`, type, part, (i) => expected(start + i));
  }
  const counts = ranks.map((r) => (r === worldSize - 1 && r > 0 ? 0 : length + 2 * r));
  const starts = counts.map((_, r) => counts.slice(0, r).reduce((a, b) => a + b, 0));
  const sum = counts.reduce((a, b) => a + b, 0);
  const gatheredValues = ranks.flatMap((r) => Array.from({ length: counts[r] as number }, (_, i) => valueOf(r, i)));
  const gathered = (i: number): number => gatheredValues[i] as number;
  const own = make(group, type, counts[rank] as number, (i) => valueOf(rank, i));
  const all = group.allocate(type, sum);
  await group.allGather(own, all, counts);
  checker.check('all-gather', type, all, gathered);
  const inPlace = group.allocate(type, sum);
  const place = inPlace.subarray(starts[rank], (starts[rank] as number) + own.length);
  place.set(own);
  await group.allGather(place as CollectiveArray, inPlace, counts);
  checker.check('all-gather in place', type, inPlace, gathered);
  for (const root of new Set([0, worldSize - 1])) {
    const broadcast = make(group, type, length, (i) => valueOf(rank, i));
    await group.broadcast(broadcast, root);
    checker.check('broadcast', type, broadcast, (i) => valueOf(root, i));
    const atRoot = rank === root ? group.allocate(type, sum) : null;
    await group.gather(own, atRoot, root, counts);
    if (atRoot !== null) checker.check('gather', type, atRoot, gathered);
    const given = rank === root ? make(group, type, sum, (i) => valueOf(7, i)) : null;
    const taken = group.allocate(type, own.length);
    await group.scatter(given, taken, root, counts);
    checker.check('scatter', type, taken, (i) => valueOf(7, (starts[rank] as number) + i));
  }
  const sendCounts = ranks.map((to) => (length + rank + to) * ((rank + to) % 3 === 2 ? 0 : 1));
  const sent = make(
    group,
    type,
    sendCounts.reduce((a, b) => a + b, 0),
    (i) => valueOf(rank, i),
  );
  const received = group.allocate(type, sent.length);
  await group.allToAll(sent, received, sendCounts, sendCounts);
  const expected = ranks.flatMap((from) => {
    const theirs = ranks.map((to) => (length + from + to) * ((from + to) % 3 === 2 ? 0 : 1));
    const before = theirs.slice(0, rank).reduce((a, b) => a + b, 0);
    return Array.from({ length: theirs[rank] as number }, (_, i) => valueOf(from, before + i));
  });
  checker.check('all-to-all', type, received, (i) => expected[i] as number);
}

/** All send short messages to all, then receive, in another order of tags. Long ones go pair by pair: their sends may block. */
async function checkPeers(group: ProcessGroup, checker: Checker, length: number): Promise<void> {
  const { rank, worldSize } = group;
  const others = Array.from({ length: worldSize }, (_, r) => r).filter((r) => r !== rank);
  const send = (to: number, size: number, tag: number): Work =>
    group.send(
      make(group, 'float32', size, (i) => valueOf(rank + tag, i)),
      to,
      tag,
    );
  const receive = async (from: number, size: number, tag: number): Promise<void> => {
    const data = group.allocate('float32', size);
    await group.receive(data, from, tag);
    checker.check(`receive tag ${tag}`, 'float32', data, (i) => valueOf(from + tag, i));
  };
  const sends = others.flatMap((to) => [5, 6].map((tag) => send(to, 3, tag)));
  for (const from of others) for (const tag of [6, 5]) await receive(from, 3, tag);
  for (const each of sends) await each;
  for (const other of others) {
    if (rank < other) await send(other, length, 1);
    await receive(other, length, 1);
    if (rank > other) await send(other, length, 1);
  }
  const objects = await group.allGatherObject({
    rank,
    bytes: new Uint8Array(rank * bytesPerElement('int32')).fill(rank),
  });
  if (!objects.every((object, r) => object.rank === r && object.bytes.length === r * 4))
    throw new Error('all-gather of objects');
  const told = await group.broadcastObject(rank === worldSize - 1 ? ['x', { y: 1 }] : [], worldSize - 1);
  if (JSON.stringify(told) !== '["x",{"y":1}]') throw new Error('broadcast of an object');
  const atFirst = await group.gatherObject(`r${rank}`, 0);
  if (rank === 0 ? atFirst?.length !== worldSize : atFirst !== null) throw new Error('gather of objects');
  checker.count += 3;
}

export const scenario: Scenario<CallsInput, number> = checkAllCalls;
