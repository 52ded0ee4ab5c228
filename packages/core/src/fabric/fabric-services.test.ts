import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  finishedWork,
  type CollectiveArray,
  type ProcessGroup,
  type ReduceOp,
  type Work,
} from '../distributed/process-group.ts';
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import { accelerators } from '../accelerators/accelerator.ts';
import type { Logger } from '../loggers/logger.ts';
import { tf, type Tensor } from '../tensors.ts';
import { allGather, allReduce, broadcast } from './collectives.ts';
import { launched } from './fabric.testing.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** Rank 1 of 2, whose partner always holds the tenfold of what this rank gives. */
class PairedGroup extends SingleProcessGroup implements ProcessGroup {
  override readonly rank: number = 1;
  override readonly worldSize: number = 2;
  sent: unknown;
  barriers = 0;

  override allReduce(data: CollectiveArray, op: ReduceOp): Work {
    for (let i = 0; i < data.length; i++) data[i] = (data[i]! * 11) / (op === 'mean' ? 2 : 1);
    return finishedWork();
  }

  override allGather(input: CollectiveArray, output: CollectiveArray): Work {
    output.set(input.map((x) => x * 10));
    output.set(input, input.length);
    return finishedWork();
  }

  override async broadcastObject<T>(_value: T): Promise<T> {
    return this.sent as T;
  }

  override broadcast(data: CollectiveArray): Work {
    data.fill(7);
    return finishedWork();
  }

  override barrier(): Work {
    this.barriers++;
    return finishedWork();
  }
}

const numbers = async (tensor: Tensor) => [...(await tensor.data())];

describe('collectives over nested collections', () => {
  it('reduce numbers and tensors, leaving the originals as they were', async () => {
    const group = new PairedGroup();
    const own = tf.tensor1d([1, 2]);
    const reduced = await allReduce(group, { loss: 2, list: [own, tf.scalar(3, 'int32')] as const }, 'sum');
    expect(reduced.loss).toBe(22);
    expect(await numbers(reduced.list[0])).toEqual([11, 22]);
    expect(reduced.list[1].dtype).toBe('int32');
    expect(await numbers(own)).toEqual([1, 2]);
    expect(await allReduce(group, 2, 'mean')).toBe(11);
  });

  it('gather by rank', async () => {
    expect(await allGather(new PairedGroup(), 3)).toEqual([30, 3]);
    const gathered = await allGather(new PairedGroup(), { x: tf.tensor1d([1, 2], 'int32') });
    expect(gathered.x).toMatchObject({ shape: [2, 2], dtype: 'int32' });
    expect(await numbers(gathered.x)).toEqual([10, 20, 1, 2]);
  });

  it('broadcast objects with tensors in them from another rank', async () => {
    const group = new PairedGroup();
    const ids = Int32Array.of(1, 2);
    group.sent = { name: 'a', ids, weights: [{ $tensor: 0, shape: [2], dtype: 'float32' }] };
    const received = (await broadcast(group, null, 0)) as unknown as {
      name: string;
      ids: Int32Array;
      weights: [Tensor];
    };
    expect(received.name).toBe('a');
    expect(received.ids).toBe(ids);
    expect(await numbers(received.weights[0])).toEqual([7, 7]);
  });

  it('broadcast what a rank alone gives as among several: tensors are new ones', async () => {
    const own = { weight: tf.tensor1d([1, 2]), ids: Int32Array.of(3), missing: undefined };
    const received = await broadcast(new SingleProcessGroup(), own, 0);
    expect(received.weight).not.toBe(own.weight);
    expect(await numbers(received.weight)).toEqual([1, 2]);
    expect(received.ids).toEqual(own.ids);
    expect(Object.keys(received)).toEqual(['weight', 'ids', 'missing']);
  });

  it.each([
    ['the value', new Map([[1, 2]]), /the value is an object of class Map/],
    ['a part', { when: [new Date(0)] }, /the value\.when\[0\] is an object of class Date/],
    ['an instance', { group: new SingleProcessGroup() }, /the value\.group is an object of class SingleProcessGroup/],
    ['code', [() => 1], /the value\[0\] is a function/],
    ['a bigint', 1n, /the value is a bigint/],
    ['a view', new DataView(new ArrayBuffer(1)), /class DataView/],
  ])('refuse to broadcast what is no data: %s', async (_name, value, message) => {
    const refused = { code: 'MISUSE', message: expect.stringMatching(message) };
    await expect(broadcast<unknown>(new SingleProcessGroup(), value, 0)).rejects.toMatchObject(refused);
    await expect(broadcast<unknown>(new PairedGroup(), value, 1)).rejects.toMatchObject(refused);
  });

  it('refuse what cannot be reduced, and ranks that do not exist', async () => {
    await expect(allReduce(new SingleProcessGroup(), { text: 'a' } as never, 'sum')).rejects.toMatchObject({
      code: 'MISUSE',
      message: expect.stringMatching(/got a string/),
    });
    await expect(broadcast(new SingleProcessGroup(), 1, 1)).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(/no rank 1/),
    });
  });
});

describe('the process group of one rank', () => {
  it('gives back what it gets, until it is aborted or closed', async () => {
    const group = new SingleProcessGroup();
    const data = Float32Array.of(1, 2);
    await group.allReduce(data, 'mean');
    const gathered = new Float32Array(2);
    await group.allGather(data, gathered);
    expect([...data, ...gathered]).toEqual([1, 2, 1, 2]);
    expect(await group.allGatherObject('a')).toEqual(['a']);
    await expect(group.broadcast(data, 2)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    group.abort('rank 3 died');
    await expect(group.barrier()).rejects.toThrow(/rank 3 died/);
  });
});

describe('fabric around the loop', () => {
  it('one rank: collectives are the identity, rankZeroFirst runs once', async () => {
    const fabric = await launched();
    expect(fabric.processGroupName).toBe('single');
    expect(await fabric.allReduce(3)).toBe(3);
    expect(await fabric.allGather(3)).toEqual([3]);
    expect(await fabric.broadcast({ a: [1, 'b', null] })).toEqual({ a: [1, 'b', null] });
    expect(await fabric.rankZeroFirst(() => 'done')).toBe('done');
    expect(await fabric.rankZeroFirst(async () => 'done', { local: true })).toBe('done');
    await fabric.barrier('end');
  });

  it('prints and logs on rank zero only', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {});
    const logged: unknown[] = [];
    const logger: Logger = { name: 'list', logMetrics: (metrics, step) => void logged.push([metrics, step]) };
    const fabric = await launched({ loggers: logger });
    fabric.print('hello', 1);
    fabric.log('loss', 2);
    fabric.logDict({ loss: tf.scalar(3), lr: 0.1 }, 7);
    expect(log.mock.calls).toEqual([['hello', 1]]);
    expect(logged).toEqual([
      [{ loss: 2 }, 0],
      [{ loss: 3, lr: 0.1 }, 7],
    ]);
    expect(fabric.logger).toBe(logger);
    expect(() => fabric.log('x', tf.tensor1d([1, 2]))).toThrow(expect.objectContaining({ code: 'MISUSE' }));
  });

  it('calls a hook on every callback that has it, in order, with their own this', async () => {
    const calls: string[] = [];
    class Named {
      constructor(readonly label: string) {}
      async onTrainStart(what: string): Promise<void> {
        await Promise.resolve();
        calls.push(`${this.label} ${what}`);
      }
    }
    const fabric = await launched({ callbacks: [new Named('a'), {}, new Named('b')] });
    await fabric.call('onTrainStart', 'go');
    await fabric.call('onNothing');
    expect(calls).toEqual(['a go', 'b go']);
  });

  it('says what it runs on', async () => {
    const fabric = await launched({ accelerator: 'wasm' });
    expect(fabric.selection).toMatchObject({ automatic: false, skipped: [] });
    expect(fabric.device).toBe('wasm:0');
    expect(fabric.accelerator.describe()).toMatch(/wasm/);
  });

  it('tells the accelerator its threads before it loads a library to see whether it is there', async () => {
    const wishes: unknown[] = [];
    const accelerator = Object.assign(accelerators.get('cpu').create(), {
      unavailable: (wish: unknown) => Promise.resolve(wishes.push(wish)).then(() => null),
    });
    await launched({ accelerator, threads: 3 });
    expect(wishes).toEqual([{ threads: 3 }]);
  });
});
