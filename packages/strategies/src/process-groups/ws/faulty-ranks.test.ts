/** A rank that has the token and sends what no sound rank sends: it is named, and nothing grows. */
import { createHash } from 'node:crypto';
import { TensorloomError } from '@tensorloom/core/distributed';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Transport } from '../transport.ts';
import type { Connection } from './connection.ts';
import { createWsTransport } from './create-ws-transport.ts';
import { dial } from './dialer.ts';
import { FrameKind, writeHeader } from './frames.ts';
import { asRankOne, closeRanks, outcomes, requestsFor, sumOf } from './ws-ranks.testing.ts';

let ranks: Transport[] = [];
afterEach(async () => {
  await closeRanks(ranks);
  ranks = [];
});

describe('a rank of the job that is faulty', () => {
  const WORLD = createHash('sha256').update('world').digest().readUInt32LE(0);

  /** Rank 0, and a connection of ours in place of rank 1. */
  async function startWithFaulty(): Promise<Connection> {
    const requests = await requestsFor(2);
    const first = createWsTransport(requests[0]!);
    let connection: Connection | null = null;
    while (connection === null)
      await dial(asRankOne(requests[0]!, `token:${requests[0]!.token!}`), (made) => (connection = made)).catch(
        () => {},
      );
    ranks = [await first];
    return connection;
  }
  const header = {
    kind: FrameKind.collective,
    isLast: false,
    textBytes: 0,
    group: 0,
    sequence: 1,
    acknowledged: 0,
    call: 1,
    step: 0,
    dataBytes: 0,
    offset: 0,
    total: 0,
  };
  const cases: readonly (readonly [string, Buffer])[] = [
    ['an oversized message', Buffer.alloc(5_000_000)],
    ['no frame', Buffer.alloc(500, 7)],
    ['a frame of a group that does not exist', writeHeader({ ...header, group: 99 })],
    ['a frame out of order', writeHeader({ ...header, sequence: 7 })],
    ['an acknowledgement of what was not sent', writeHeader({ ...header, acknowledged: 1000 })],
    [
      'a control message that is none',
      Buffer.concat([
        writeHeader({ ...header, kind: FrameKind.control, dataBytes: 5, total: 5 }),
        Buffer.from('hello'),
      ]),
    ],
    [
      'a large transfer that nobody asked for',
      Buffer.concat([
        writeHeader({ ...header, group: WORLD, dataBytes: 100_000, total: 2 ** 50 }),
        Buffer.alloc(100_000),
      ]),
    ],
  ];

  it.each(cases)('and sends %s is cut off and named', async (_, message) => {
    const { socket } = await startWithFaulty();
    const pending = outcomes([ranks[0]!.execute(sumOf(new Float32Array(10)))]);
    socket.send(message);
    const [error] = await pending;
    expect(error).toMatchObject({ code: 'RANK_LOST' });
    expect(error!.message).toMatch(/^Rank 1 sent what no rank of this job sends/);
    socket.terminate();
  });

  it('and sends 10,000 mutated and random frames is cut off and named each time, with bounded memory', async () => {
    const change = fc.record({ at: fc.nat({ max: 99 }), value: fc.nat({ max: 255 }) });
    const mutated = fc
      .tuple(fc.constantFrom(...cases.slice(2).map(([, bytes]) => bytes)), fc.array(change, { maxLength: 4 }))
      .map(([sound, changes]) => {
        const bytes = Buffer.from(sound.subarray(0, 20_000));
        for (const { at, value } of changes) bytes[at % bytes.length] = value;
        return bytes;
      });
    const random = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    const frames = fc.array(fc.oneof(mutated, random), { minLength: 250, maxLength: 250 });
    const before = process.memoryUsage().rss;
    await fc.assert(
      fc.asyncProperty(frames, async (all) => {
        const { socket } = await startWithFaulty();
        const pending = outcomes([ranks[0]!.execute(sumOf(new Float32Array(10)))]);
        for (const frame of all) socket.send(frame);
        const [error] = await pending;
        expect(error).toBeInstanceOf(TensorloomError);
        expect(error!.message).toMatch(/[Rr]ank 1\b/);
        socket.terminate();
        await closeRanks(ranks);
        ranks = [];
      }),
      { numRuns: 40 },
    );
    expect(process.memoryUsage().rss - before).toBeLessThan(300_000_000);
  });
});
