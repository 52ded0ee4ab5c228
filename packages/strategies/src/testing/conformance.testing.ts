/** A scenario of what must hold for every process group: values, sub-groups, handles, failures that stay in their group. */
import {
  bytesPerElement,
  TensorloomError,
  type CollectiveArray,
  type ErrorCode,
  type ProcessGroup,
  type Work,
} from '@tensorloom/core/distributed';
import { checkAllCalls, type CallsInput } from './calls.testing.ts';
import type { Scenario } from './scenario.testing.ts';

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`does not hold: ${what}`);
}

async function failsWith(work: PromiseLike<unknown>, code: ErrorCode, pattern: RegExp): Promise<void> {
  let error: unknown;
  try {
    await work;
  } catch (thrown) {
    error = thrown;
  }
  check(error instanceof TensorloomError && error.code === code, `${code} was expected, came ${String(error)}`);
  check(pattern.test((error as Error).message), `${pattern} in: ${(error as Error).message}`);
}

function refuses(action: () => unknown, pattern: RegExp): void {
  let message = '(nothing)';
  try {
    action();
  } catch (error) {
    check(error instanceof TensorloomError && error.code === 'BAD_OPTION', String(error));
    message = (error as Error).message;
  }
  check(pattern.test(message), `${pattern} in: ${message}`);
}

/** Bits of a few thousand numbers that are not round. */
function noise(group: ProcessGroup, length: number): Float32Array {
  const data = group.allocate('float32', length);
  let state = 12_345 + group.rank * 977;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
    data[i] = state / 2 ** 31;
  }
  return data;
}

async function isBitIdentical(group: ProcessGroup): Promise<void> {
  for (const length of [700, 60_001]) {
    const runs: string[] = [];
    for (let run = 0; run < 2; run++) {
      const data = noise(group, length);
      await group.allReduce(data, 'sum');
      runs.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'));
    }
    check(runs[0] === runs[1], 'two runs give the same bits');
    const all = await group.allGatherObject(runs[0]);
    check(
      all.every((each) => each === runs[0]),
      'all ranks have the same bits',
    );
  }
}

async function handles(group: ProcessGroup): Promise<void> {
  const { worldSize } = group;
  // Some in shared memory, some in memory of this thread alone; only the last is waited for.
  const arrays: CollectiveArray[] = Array.from({ length: 12 }, (_, i) =>
    i % 2 === 0 ? group.allocate('float32', 5000) : new Float32Array(5000),
  );
  const works = arrays.map((data, i): Work => {
    data.fill(i + 1);
    return group.allReduce(data, 'sum');
  });
  (works.at(-1) as Work).waitSync();
  arrays.forEach((data, i) => {
    check(data[0] === (i + 1) * worldSize && data.at(-1) === data[0], `call ${i} is done when a later one is`);
  });
  check(
    works.every((work) => work.isDone),
    'isDone',
  );
  await Promise.all(works);
  await works[0];
  const own = new Float64Array(3).fill(group.rank);
  const all = new Float64Array(3 * worldSize);
  group.allGather(own, all).waitSync();
  check(
    all.every((value, i) => value === Math.floor(i / 3)),
    'all-gather into memory of this thread',
  );
}

async function subGroups(group: ProcessGroup): Promise<void> {
  const { rank, worldSize } = group;
  const ranks = Array.from({ length: worldSize }, (_, r) => r);
  const reversed = await group.split([...ranks].reverse());
  check(reversed?.rank === worldSize - 1 - rank && reversed.worldSize === worldSize, 'ranks in the order given');
  check(reversed?.globalRanks[0] === worldSize - 1, 'globalRanks');
  const first = await group.split(ranks.filter((r) => r < Math.max(1, worldSize - 1)));
  const last = await group.split(ranks.filter((r) => r >= Math.min(1, worldSize - 1)));
  check((first === null) === rank >= Math.max(1, worldSize - 1), 'only members have a group');
  const data = [first, reversed, last].map((each) => each?.allocate('int32', 10).fill(1 + rank));
  const works = [first, reversed, last].map((each, i) => each?.allReduce(data[i] as Int32Array, 'sum'));
  const world = group.allocate('int32', 1).fill(1);
  await group.allReduce(world, 'sum');
  for (const work of works) await work;
  const sum = (members: readonly number[]): number => members.reduce((total, r) => total + r + 1, 0);
  [first, reversed, last].forEach((each, i) => {
    if (each !== null) check(data[i]?.[9] === sum(each.globalRanks), `sum of group ${i}`);
  });
  const order = await reversed?.allGatherObject(rank);
  check(JSON.stringify(order) === JSON.stringify([...ranks].reverse()), 'gathered in the order of the sub-group');
  const inner = await reversed?.split([0]);
  check(rank !== worldSize - 1 || inner?.globalRanks[0] === worldSize - 1, 'a group of a group');
  for (const each of [inner, last, reversed, first]) await each?.close();
}

async function wrongCalls(group: ProcessGroup): Promise<void> {
  const { worldSize } = group;
  const three = new Float32Array(3);
  refuses(() => group.broadcast(three, worldSize), /no rank/);
  refuses(() => group.allReduce(new Int32Array(1), 'mean'), /mean of int32/);
  refuses(() => group.allGather(three, new Float32Array(3 * worldSize + 1)), /expected/);
  refuses(() => group.allGather(three, new Float64Array(3 * worldSize)), /one type/);
  refuses(() => group.scatter(null, three, group.rank), /gave no input/);
}

/** Each in a group of its own, since it is of no use afterwards. */
async function mismatches(group: ProcessGroup): Promise<void> {
  const { rank, worldSize } = group;
  if (worldSize === 1) return;
  const isOdd = rank === worldSize - 1;
  const calls: ((g: ProcessGroup) => Work)[] = [
    (g) => g.allReduce(new Float32Array(10), isOdd ? 'max' : 'sum'),
    (g) => g.allReduce(new Float32Array(isOdd ? 10 : 20_000), 'sum'),
    (g) => g.allReduce(isOdd ? new Float64Array(10) : new Float32Array(10), 'sum'),
    (g) => (isOdd ? g.barrier('x') : g.broadcast(new Float32Array(4), 0)),
  ];
  for (const call of calls) {
    const own = (await group.split(Array.from({ length: worldSize }, (_, r) => r))) as ProcessGroup;
    // Else ranks that still make the new group may hear of its failure there already.
    await group.barrier('all have the new group');
    // Ranks that a broadcast reached before the odd one was noticed hear of it in the next call. The odd one is named to itself.
    const both = async (): Promise<void> => {
      await call(own);
      await own.barrier();
    };
    await failsWith(both(), 'COLLECTIVE_MISMATCH', /ranks? .*called.*; ranks? .*called/);
    await failsWith(own.barrier(), 'COLLECTIVE_MISMATCH', isOdd ? new RegExp(`rank ${rank} called`) : /called/);
    await group.barrier('the others go on');
  }
}

async function aborting(group: ProcessGroup): Promise<void> {
  const { rank, worldSize } = group;
  const own = (await group.split(Array.from({ length: worldSize }, (_, r) => r))) as ProcessGroup;
  await own.barrier();
  // The barrier's end on one rank is not its end on all: an abort makes those fail that are still in it.
  await group.barrier('all are out of it');
  if (rank === 0) own.abort('the cat is on the keyboard');
  if (rank !== 0 || worldSize === 1) await failsWith(own.barrier('never'), 'ABORTED', /the cat is on the keyboard/);
  await group.barrier('all have heard');
  await failsWith(own.allReduce(new Float32Array(1), 'sum'), 'ABORTED', /the cat/);
}

/** @returns how many values were compared */
export const scenario: Scenario<CallsInput, number> = async (group, input) => {
  const count = await checkAllCalls(group, input);
  check(group.allocate('float16', 3).byteLength === 3 * bytesPerElement('float16'), 'allocate');
  await isBitIdentical(group);
  await handles(group);
  await subGroups(group);
  await wrongCalls(group);
  await mismatches(group);
  await aborting(group);
  const closed = (await group.split([group.worldSize - 1])) ?? undefined;
  await closed?.close();
  if (closed !== undefined) await failsWith(closed.barrier(), 'MISUSE', /closed/);
  return count;
};
