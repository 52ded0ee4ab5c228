/** One rank under mpirun, for the tests of the transport: does what its argument names and prints what came of it. */
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  elementTypeOf,
  Float16Bits,
  type CollectiveArray,
  type ReduceOp,
  type TensorloomError,
} from '@tensorloom/core/distributed';
import type { CollectiveCall, CollectiveKind } from '../collective-call.ts';
import type { Transport } from '../transport.ts';
import { joinMpi } from './mpi-transport.ts';

const rank = Number(process.env['OMPI_COMM_WORLD_RANK']);
const worldSize = Number(process.env['OMPI_COMM_WORLD_SIZE']);
const { scenario, nonBlocking, maxCount, pretendedSize, collectiveTimeoutMs, folder, failing } = JSON.parse(
  process.argv[2] as string,
) as RankInput;

/** What the test tells each rank. */
export interface RankInput {
  readonly scenario: keyof typeof scenarios;
  readonly nonBlocking?: boolean;
  readonly maxCount?: number;
  readonly pretendedSize?: number;
  readonly collectiveTimeoutMs?: number;
  /** Empty: ranks that fail leave a file in it. */
  readonly folder: string;
  /** How many ranks fail. */
  readonly failing: number;
}

function call(kind: CollectiveKind, arrays: Partial<CollectiveCall>): CollectiveCall {
  const data = (arrays.input ?? arrays.output ?? new Uint8Array(0)) as CollectiveArray;
  const defaults = { input: null, output: null, op: null, peer: -1, tag: 0, counts: [], receiveCounts: [], name: '' };
  return { kind, ...defaults, elementType: elementTypeOf(data), ...arrays };
}

function inPlace(kind: CollectiveKind, data: CollectiveArray, more: Partial<CollectiveCall>): CollectiveCall {
  return call(kind, { input: data, output: data, counts: [data.length], ...more });
}

/** Elements of rank `r`'s part: another number on each rank, none on one. */
const part = (r: number): number => (r * 7) % 11;
const ranks = Array.from({ length: worldSize }, (_, r) => r);
const parts = ranks.map(part);
const total = parts.reduce((sum, count) => sum + count, 0);
/** Values that tell who sent them, and which they are. */
const values = (r: number, length: number): number[] => Array.from({ length }, (_, i) => r * 100 + i);
/** Whoever gathers, scatters and broadcasts. */
const root = Math.min(1, worldSize - 1);
const sumOfRanks = ranks.reduce((sum, r) => sum + r, 0);

async function everyCall(t: Transport): Promise<string> {
  const reduced = async (op: ReduceOp, give: (r: number) => number): Promise<number[]> => {
    const data = new Float64Array(13).fill(give(rank));
    await t.execute(inPlace('all-reduce', data, { op }));
    return [...new Set(data)];
  };
  assert.deepEqual(await reduced('sum', (r) => r), [sumOfRanks]);
  assert.deepEqual(await reduced('mean', (r) => r), [sumOfRanks / worldSize]);
  assert.deepEqual(await reduced('max', (r) => r), [worldSize - 1]);
  assert.deepEqual(await reduced('min', (r) => r), [0]);
  assert.deepEqual(await reduced('product', (r) => r + 1), [ranks.reduce((product, r) => product * (r + 1), 1)]);

  const halves = Float16Bits.from(new Array<number>(9).fill(0x3c00)) as Float16Bits;
  await t.execute(inPlace('all-reduce', halves, { op: 'mean' }));
  assert.deepEqual([...halves], new Array(9).fill(0x3c00));

  const own = Float32Array.from(values(rank, part(rank)));
  const everyones = ranks.flatMap((r) => values(r, part(r)));
  const gathered = new Float32Array(total);
  await t.execute(call('all-gather', { input: own, output: gathered, counts: parts }));
  assert.deepEqual([...gathered], everyones);
  const before = parts.slice(0, rank).reduce((sum, count) => sum + count, 0);
  const aliased = new Float32Array(total);
  aliased.set(own, before);
  await t.execute(
    call('all-gather', { input: aliased.subarray(before, before + part(rank)), output: aliased, counts: parts }),
  );
  assert.deepEqual([...aliased], everyones);

  const collected = rank === root ? new Float32Array(total) : null;
  await t.execute(call('gather', { input: own, output: collected, counts: parts, peer: root }));
  assert.deepEqual(collected === null ? null : [...collected], rank === root ? everyones : null);
  const dealt = new Float32Array(part(rank));
  await t.execute(
    call('scatter', {
      input: rank === root ? Float32Array.from(everyones) : null,
      output: dealt,
      counts: parts,
      peer: root,
    }),
  );
  assert.deepEqual([...dealt], [...own]);

  const scattered = new Int32Array(part(rank));
  await t.execute(
    call('reduce-scatter', {
      input: Int32Array.from(values(rank, total)),
      output: scattered,
      counts: parts,
      op: 'sum',
    }),
  );
  assert.deepEqual(
    [...scattered],
    values(0, part(rank)).map((i) => (before + i) * worldSize + 100 * sumOfRanks),
  );

  const told = new Uint8Array(23).fill(rank === root ? 9 : 0);
  await t.execute(inPlace('broadcast', told, { peer: root }));
  assert.deepEqual([...told], new Array(23).fill(9));

  const sent = (from: number, to: number): number => (from * 5 + to * 3) % 8;
  const counts = ranks.map((r) => sent(rank, r));
  const receiveCounts = ranks.map((r) => sent(r, rank));
  const output = new Int32Array(receiveCounts.reduce((sum, count) => sum + count, 0));
  const input = Int32Array.from(ranks.flatMap((r) => values(rank * 10 + r, sent(rank, r))));
  await t.execute(call('all-to-all', { input, output, counts, receiveCounts }));
  assert.deepEqual(
    [...output],
    ranks.flatMap((r) => values(r * 10 + rank, sent(r, rank))),
  );

  const [next, previous] = [(rank + 1) % worldSize, (rank + worldSize - 1) % worldSize];
  // Large enough not to be sent off at once, unless that takes too many rounds.
  for (const length of [0, 3, maxCount === undefined ? 300_000 : 500]) {
    await t.execute(call('send', { input: new Uint8Array(length).fill(rank + 1), peer: next, tag: 7 }));
    const received = new Uint8Array(length);
    await t.execute(call('receive', { output: received, peer: previous, tag: 7 }));
    assert.ok(received.every((value) => value === previous + 1));
  }
  await t.execute(call('barrier', { name: 'end' }));
  return 'all right';
}

const scenarios = {
  'every call': everyCall,
  split: async (t: Transport): Promise<unknown> => {
    const group = await t.split([2, 0], 'even');
    if (group === null) return null;
    const data = Float32Array.of(rank, group.rank);
    await group.execute(inPlace('broadcast', data, { peer: 0 }));
    await group.close();
    return [group.rank, group.worldSize, ...data];
  },
  'different calls': async (t: Transport) =>
    t.execute(inPlace('all-reduce', new Float32Array(5 + (rank === 1 ? 1 : 0)), { op: 'sum' })),
  'different counts': async (t: Transport) => {
    const counts = ranks.map((r) => (rank === 2 && r === 0 ? 2 : 1));
    const input = new Uint8Array(counts.reduce((sum, count) => sum + count, 0));
    await t.execute(
      call('all-to-all', { input, output: new Uint8Array(worldSize), counts, receiveCounts: ranks.map(() => 1) }),
    );
  },
  'different letters': async (t: Transport) => {
    if (rank === 0) await t.execute(call('send', { input: new Float32Array(3), peer: 1 }));
    if (rank === 1) await t.execute(call('receive', { output: new Float32Array(4), peer: 0 }));
    await t.execute(call('barrier', {}));
  },
  'a rank that does not come': async (t: Transport) => {
    if (rank === 1) await sleep(60_000);
    await t.execute(call('barrier', { name: 'start' }));
  },
  'rank 0 does not come': async (t: Transport) => {
    if (rank === 0) await sleep(60_000);
    await t.execute(call('barrier', { name: 'start' }));
  },
  abort: async (t: Transport) => {
    if (rank === 1) t.abort('the data are gone');
    await t.execute(call('barrier', {}));
  },
  'aborted while it waits': async (t: Transport) => {
    if (rank === 1) setTimeout(() => t.abort('enough'), 300);
    if (rank === 0) await sleep(60_000);
    await t.execute(call('barrier', {}));
  },
  killed: async (t: Transport) => {
    await t.execute(call('barrier', {}));
    if (rank === 1) process.kill(process.pid, 'SIGKILL');
    for (;;) await t.execute(inPlace('all-reduce', new Float32Array(100_000), { op: 'sum' }));
  },
  twice: async () => join(),
};

async function join(): Promise<Transport> {
  const place = {
    localRank: rank,
    localWorldSize: worldSize,
    nodeRank: 0,
    numNodes: 1,
    mainAddress: '127.0.0.1',
    mainPort: 1,
  };
  const job = {
    jobId: 'test',
    token: undefined,
    collectiveTimeoutMs: collectiveTimeoutMs ?? 60_000,
    rankTimeoutMs: 60_000,
  };
  const request = {
    rank,
    worldSize: pretendedSize ?? worldSize,
    ...place,
    ...job,
    options: { nonBlocking: nonBlocking ?? false },
  };
  return joinMpi(request, maxCount ?? 2 ** 31 - 1);
}

function say(outcome: object): void {
  process.stdout.write(`@ ${JSON.stringify({ rank, ...outcome })}\n`);
}

try {
  const transport = await join();
  say({ result: (await scenarios[scenario](transport)) ?? null });
  await transport.close();
} catch (error) {
  const { code, message, stack } = error as TensorloomError;
  say({ code: code ?? stack, message });
  // mpirun ends the others as soon as one fails: they shall have their say.
  writeFileSync(path.join(folder, `rank-${rank}`), '');
  for (let look = 0; readdirSync(folder).length < failing && look < 600; look++) await sleep(50);
  process.exit(1);
}
