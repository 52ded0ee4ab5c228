/** The main thread and its communication thread. One rank is enough for that. */
import { describe, expect, it } from 'vitest';
import type { TransportRequest } from '../transport.ts';
import { shmUnavailable } from '../shm/shm-transport.ts';
import { StagingPool } from './staging.ts';
import { WorkerProcessGroup } from './worker-group.ts';

let jobs = 0;

function request(changes: Partial<TransportRequest> = {}): TransportRequest {
  return {
    rank: 0,
    worldSize: 1,
    localRank: 0,
    localWorldSize: 1,
    nodeRank: 0,
    numNodes: 1,
    mainAddress: '127.0.0.1',
    mainPort: 0,
    jobId: `test-worker-${process.pid}-${jobs++}`,
    token: 'secret',
    collectiveTimeoutMs: 20_000,
    rankTimeoutMs: 20_000,
    options: {},
    ...changes,
  };
}

describe.runIf(shmUnavailable() === null)('WorkerProcessGroup', () => {
  it('traces what ran when', async () => {
    const group = await WorkerProcessGroup.start('shm', request(), { trace: true });
    await group.allReduce(group.allocate('float32', 10), 'sum');
    await group.barrier('b');
    const calls = await group.trace();
    expect(calls.map(({ call }) => call)).toEqual(['all-reduce sum float32[10]', "barrier 'b'"]);
    const times = calls.flatMap(({ startMs, endMs }) => [startMs, endMs]);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(await group.trace()).toEqual([]);
    await group.close();
  });

  it('is of no use once it is closed, and closing twice is no mistake', async () => {
    const group = await WorkerProcessGroup.start('shm', request());
    await group.close();
    await group.close();
    await expect(group.barrier()).rejects.toMatchObject({ code: 'MISUSE' });
    expect(() => {
      group.barrier().waitSync();
    }).toThrow(/closed/);
  });

  it('ends pending work before it closes', async () => {
    const group = await WorkerProcessGroup.start('shm', request());
    const data = new Float32Array(100_000).fill(1);
    const copy = new Float32Array(100_000);
    const work = group.allGather(data, copy);
    await group.close();
    expect(work.isDone).toBe(true);
    expect(copy.every((value) => value === 1)).toBe(true);
  });

  it('does not wait for ever for a rank when it closes', async () => {
    const requests = [0, 1].map((rank) => ({
      rank,
      worldSize: 2,
      localRank: rank,
      localWorldSize: 2,
      // Also the time in which they must have met.
      rankTimeoutMs: 5000,
    }));
    const { jobId } = request();
    const [first, second] = await Promise.all(
      requests.map((each) => WorkerProcessGroup.start('shm', request({ ...each, jobId }))),
    );
    const work = first?.barrier('alone');
    await expect(first?.close()).rejects.toMatchObject({ code: 'RANK_LOST' });
    await expect(work).rejects.toMatchObject({ code: 'RANK_LOST' });
    second?.abort('the test is over');
    await second?.close();
  });

  it('passes on with its code why the ranks cannot meet', async () => {
    const alone = request({ worldSize: 2, localWorldSize: 2, rankTimeoutMs: 500 });
    await expect(WorkerProcessGroup.start('shm', alone)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('Rank 1 did not come within 0.5 s') as string,
    });
  });
});

describe('StagingPool', () => {
  it('gives what was given back, and keeps no more than it may', () => {
    const pool = new StagingPool(2048);
    const memory = pool.take(1000);
    pool.give(memory);
    expect(pool.take(900)).toBe(memory);
    const large = pool.take(100_000);
    expect(large.byteLength).toBe(131_072);
    pool.give(large);
    expect(pool.take(100_000)).not.toBe(large);
  });

  it('gives again what was allocated with more than asked for', () => {
    const pool = new StagingPool(undefined, (bytes) => new SharedArrayBuffer(bytes + 300));
    const memory = pool.take(1024);
    pool.give(memory);
    expect(pool.take(1000)).toBe(memory);
  });
});
