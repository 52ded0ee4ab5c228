/** Every collective over WebSockets against what it is by definition. */
import {
  BFloat16Bits,
  bytesPerElement,
  Float16Bits,
  viewOf,
  type CollectiveArray,
  type ElementType,
  type ReduceOp,
} from '@tensorloom/core/distributed';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Transport } from '../transport.ts';
import { call, closeRanks, startRanks, sumOf } from './ws-ranks.testing.ts';

const TYPES: readonly ElementType[] = ['float32', 'float64', 'int32', 'uint8', 'float16', 'bfloat16'];
/** Empty, one, odd and small, and of several chunks: the last go round the ring. */
const LENGTHS = [0, 1, 37, 30_011];

function array(type: ElementType, length: number): CollectiveArray {
  return viewOf(type, new SharedArrayBuffer(length * bytesPerElement(type)), 0, length);
}

/** Small whole numbers, of which sums and products are exact in every type; of halves, the bits of them. */
const half = { float16: [0x3c00, 0x4000, 0x4200], bfloat16: [0x3f80, 0x4000, 0x4040] } as const;
function bits(type: ElementType, value: number): number {
  return type === 'float16' || type === 'bfloat16' ? half[type][value - 1]! : value;
}
function numbers(data: CollectiveArray): number[] {
  if (data instanceof BFloat16Bits)
    return Array.from(data, (b) => new Float32Array(Uint32Array.of(b << 16).buffer)[0]!);
  if (data instanceof Float16Bits)
    return Array.from(data, (b) => (b === 0 ? 0 : 2 ** ((b >> 10) - 15) * (1 + (b & 0x3ff) / 1024)));
  return Array.from(data);
}

/** As toEqual, but quick for long arrays. */
function expectSame(got: ArrayLike<number>, expected: ArrayLike<number>): void {
  let first = 0;
  while (first < expected.length && Object.is(got[first], expected[first])) first++;
  expect({ length: got.length, first, value: got[first] }).toEqual({
    length: expected.length,
    first: expected.length,
    value: undefined,
  });
}

const value = (rank: number, index: number): number => 1 + ((rank + 3 * index) % 3);
function given(type: ElementType, rank: number, length: number): CollectiveArray {
  const data = array(type, length);
  for (let i = 0; i < length; i++) data[i] = bits(type, value(rank, i));
  return data;
}

const reduce: Readonly<Record<ReduceOp, (values: readonly number[]) => number>> = {
  sum: (values) => values.reduce((a, b) => a + b),
  mean: (values) => Math.fround(values.reduce((a, b) => a + b) / values.length),
  product: (values) => values.reduce((a, b) => a * b),
  max: (values) => Math.max(...values),
  min: (values) => Math.min(...values),
};

describe.each([1, 2, 3, 4])('%i ranks', (worldSize) => {
  let ranks: Transport[];
  const world = Array.from({ length: worldSize }, (_, rank) => rank);
  const all = (make: (rank: number) => Parameters<Transport['execute']>[0]) =>
    Promise.all(ranks.map(async (transport, rank) => transport.execute(make(rank))));
  /** Unequal, one of them empty. */
  const counts = (length: number): number[] => world.map((rank) => (rank === 1 ? 0 : length + rank));
  const total = (parts: readonly number[]) => parts.reduce((a, b) => a + b, 0);
  const start = (parts: readonly number[], rank: number) => total(parts.slice(0, rank));

  beforeAll(async () => {
    ranks = await startRanks(worldSize, { options: { chunkBytes: 16_384 } });
  });
  afterAll(() => closeRanks(ranks));

  it.each(TYPES.flatMap((type) => LENGTHS.map((length) => ({ type, length }))))(
    'reduces $length $type by every operation, with the same bits on all ranks',
    async ({ type, length }) => {
      const isInteger = type === 'int32' || type === 'uint8';
      for (const op of ['sum', 'mean', 'product', 'max', 'min'] as const) {
        if (op === 'mean' && isInteger) continue;
        const data = world.map((rank) => given(type, rank, length));
        await all((rank) => call('all-reduce', data[rank]!, data[rank]!, { op }));
        const expected = Array.from({ length }, (_, i) => reduce[op](world.map((rank) => value(rank, i))));
        const tolerance = type === 'bfloat16' ? 2 ** -8 : type === 'float16' ? 2 ** -10 : 1e-6;
        const got = numbers(data[0]!);
        if (op === 'mean')
          expect(got.every((x, i) => Math.abs(x - expected[i]!) <= tolerance * expected[i]!)).toBe(true);
        else expectSame(got, expected);
        for (const other of data) expectSame(other, data[0]!);
      }
    },
  );

  it.each(TYPES)('reduces and scatters unequal parts of %s, and leaves the input as it is', async (type) => {
    for (const length of [2, 9001]) {
      const parts = counts(length);
      const inputs = world.map((rank) => given(type, rank, total(parts)));
      const outputs = world.map((rank) => array(type, parts[rank]!));
      await all((rank) => call('reduce-scatter', inputs[rank]!, outputs[rank]!, { op: 'sum', counts: parts }));
      for (const rank of world) {
        const from = start(parts, rank);
        expectSame(
          numbers(outputs[rank]!),
          Array.from({ length: parts[rank]! }, (_, i) => reduce.sum(world.map((other) => value(other, from + i)))),
        );
        expectSame(inputs[rank]!, given(type, rank, total(parts)));
      }
    }
  });

  it('reduces and scatters to an output that lies anywhere in the input', async () => {
    const length = 20_000;
    const inputs = world.map((rank) => given('float32', rank, length * worldSize));
    const outputs = inputs.map((input) => input.subarray(0, length) as Float32Array);
    const parts = world.map(() => length);
    await all((rank) => call('reduce-scatter', inputs[rank]!, outputs[rank]!, { op: 'mean', counts: parts }));
    for (const rank of world)
      expect(outputs[rank]![5]).toBeCloseTo(reduce.mean(world.map((other) => value(other, rank * length + 5))), 6);
  });

  it.each(TYPES)('gathers unequal parts of %s on all and on one, and scatters them', async (type) => {
    for (const length of [0, 3, 9001]) {
      const parts = counts(length);
      const inputs = world.map((rank) => given(type, rank, parts[rank]!));
      const expected = inputs.flatMap((input) => Array.from(input));
      const outputs = world.map(() => array(type, total(parts)));
      await all((rank) => call('all-gather', inputs[rank]!, outputs[rank]!, { counts: parts }));
      for (const output of outputs) expectSame(output, expected);

      const root = worldSize - 1;
      const whole = array(type, total(parts));
      await all((rank) => call('gather', inputs[rank]!, rank === root ? whole : null, { counts: parts, peer: root }));
      expectSame(whole, expected);

      const scattered = world.map((rank) => array(type, parts[rank]!));
      await all((rank) =>
        call('scatter', rank === root ? whole : null, scattered[rank]!, { counts: parts, peer: root }),
      );
      for (const rank of world) expectSame(scattered[rank]!, inputs[rank]!);
    }
  });

  it("gathers into an output that holds this rank's part already", async () => {
    const outputs = world.map(() => array('float32', 7 * worldSize));
    const inputs = outputs.map((output, rank) =>
      (output as Float32Array).subarray(7 * rank, 7 * rank + 7).fill(rank + 1),
    );
    await all((rank) => call('all-gather', inputs[rank]!, outputs[rank]!, { counts: world.map(() => 7) }));
    for (const output of outputs)
      expect(Array.from(output)).toEqual(world.flatMap((rank) => new Array(7).fill(rank + 1)));
  });

  it.each(TYPES)('broadcasts %s from every rank', async (type) => {
    for (const length of LENGTHS)
      for (const source of world) {
        const data = world.map((rank) => (rank === source ? given(type, 5, length) : array(type, length)));
        await all((rank) => call('broadcast', data[rank]!, data[rank]!, { peer: source }));
        for (const each of data) expectSame(each, data[source]!);
      }
  });

  it.each(TYPES)('exchanges unequal parts of %s between all', async (type) => {
    for (const scale of [1, 7001]) {
      const sent = (from: number, to: number) => ((from + 2 * to) % 3) * scale;
      const inputs = world.map((rank) => given(type, rank, total(world.map((to) => sent(rank, to)))));
      const outputs = world.map((rank) => array(type, total(world.map((from) => sent(from, rank)))));
      await all((rank) =>
        call('all-to-all', inputs[rank]!, outputs[rank]!, {
          counts: world.map((to) => sent(rank, to)),
          receiveCounts: world.map((from) => sent(from, rank)),
        }),
      );
      for (const rank of world) {
        const expected = world.flatMap((from) => {
          const begin = start(
            world.map((to) => sent(from, to)),
            rank,
          );
          return Array.from(inputs[from]!.subarray(begin, begin + sent(from, rank)));
        });
        expectSame(outputs[rank]!, expected);
      }
    }
  });

  it.runIf(worldSize > 1)('sends and receives by tag, small before it is received, and large', async () => {
    const last = worldSize - 1;
    const small = given('int32', 1, 10);
    const large = given('float64', 2, 50_000);
    const receivedSmall = array('int32', 10);
    const receivedLarge = array('float64', 50_000);
    const sending = (async () => {
      await ranks[0]!.execute(call('send', small, null, { peer: last, tag: -7 }));
      await ranks[0]!.execute(call('send', large, null, { peer: last, tag: 3 }));
      for (let i = 0; i < 600; i++) await ranks[0]!.execute(call('send', Int32Array.of(i), null, { peer: last }));
      await ranks[0]!.execute(call('send', new Float32Array(0), null, { peer: last }));
    })();
    await ranks[last]!.execute(call('receive', null, receivedLarge, { peer: 0, tag: 3 }));
    await ranks[last]!.execute(call('receive', null, receivedSmall, { peer: 0, tag: -7 }));
    const one = new Int32Array(1);
    for (let i = 0; i < 600; i++) {
      await ranks[last]!.execute(call('receive', null, one, { peer: 0 }));
      expect(one[0]).toBe(i);
    }
    await ranks[last]!.execute(call('receive', null, new Float32Array(0), { peer: 0 }));
    await sending;
    expectSame(receivedSmall, small);
    expectSame(receivedLarge, large);
  });

  it('holds ranks at a barrier until all have come', async () => {
    let come = 0;
    await Promise.all(
      ranks.map(async (transport, rank) => {
        await new Promise((resolve) => setTimeout(resolve, 10 * rank));
        come++;
        await transport.execute(call('barrier', null, null));
        expect(come).toBe(worldSize);
      }),
    );
  });

  it('splits into groups that work at the same time, in an order of their own', async () => {
    const members = [...world].reverse().filter((rank) => rank !== 1);
    const groups = await Promise.all(ranks.map((transport) => transport.split(members, 'without 1')));
    expect(groups.map((group) => group?.rank ?? null)).toEqual(
      world.map((rank) => (rank === 1 ? null : members.indexOf(rank))),
    );
    const whole = world.map((rank) => given('float32', rank, 30_000));
    const part = world.map((rank) => given('float32', rank, 30_000));
    await Promise.all([
      ...ranks.map(async (transport, rank) => transport.execute(sumOf(whole[rank]!))),
      ...groups.map(async (group, rank) => group?.execute(sumOf(part[rank]!))),
    ]);
    expect(whole[0]![1]).toBe(reduce.sum(world.map((rank) => value(rank, 1))));
    expect(part[0]![1]).toBe(reduce.sum(members.map((rank) => value(rank, 1))));
    await Promise.all(groups.map(async (group) => group?.close()));
  });
});
