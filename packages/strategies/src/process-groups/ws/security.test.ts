/** Strangers at the door of a running job: it goes on unharmed, with bounded memory, and says so once. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import type { Transport, TransportRequest } from '../transport.ts';
import { Cable } from './cable.testing.ts';
import { createWsTransport } from './create-ws-transport.ts';
import { dial } from './dialer.ts';
import { asRankOne, closeRanks, requestsFor, sumOf } from './ws-ranks.testing.ts';

let warn: MockInstance;
let requests: TransportRequest[] = [];
let ranks: Transport[] = [];
let sockets: Socket[] = [];
let rounds = 0;
let job: Promise<void> = Promise.resolve();
let isOver = false;

/** A job of two ranks that adds up without pause. */
async function startJob(): Promise<void> {
  requests = await requestsFor(2);
  ranks = await Promise.all(requests.map((request) => createWsTransport(request)));
  work();
}

function work(): void {
  isOver = false;
  rounds = 0;
  job = Promise.all(
    ranks.map(async (transport, rank) => {
      const stop = new Int32Array(1);
      for (let round = 0; stop[0] === 0; round++) {
        const data = new Float32Array(round % 2 === 0 ? 100 : 50_000).fill(rank + round);
        await transport.execute(sumOf(data));
        if (data.some((x) => x !== 1 + 2 * round)) throw new Error('a sum is wrong');
        // All stop in the same round.
        stop[0] = rank === 0 && isOver ? 1 : 0;
        await transport.execute(sumOf(stop));
        if (rank === 0) rounds++;
      }
    }),
  ).then(() => {});
}

async function endJob(): Promise<void> {
  isOver = true;
  await job;
}

/** Each kind of refusal is told in one line, and there were just these kinds. */
function expectToldOnce(...kinds: readonly RegExp[]): void {
  const lines = warn.mock.calls.map(([text]) => String(text));
  for (const kind of kinds) expect(lines.filter((line) => kind.test(line))).toHaveLength(1);
  expect(lines).toHaveLength(kinds.length);
}

/** The job has done more since. */
async function expectGoesOn(): Promise<void> {
  const before = rounds;
  await Promise.race([job, until(() => rounds > before + 3)]);
  expect(rounds).toBeGreaterThan(before);
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A plain TCP client of the main rank. */
function stranger(): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ port: requests[0]!.mainPort, host: '127.0.0.1' }, () => resolve(socket));
    socket.on('error', () => resolve(socket));
    sockets.push(socket);
  });
}

function closed(socket: Socket): Promise<void> {
  socket.resume();
  return socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', () => resolve()));
}

const UPGRADE =
  'GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

beforeEach(() => {
  warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
});
afterEach(async () => {
  await endJob();
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await closeRanks(ranks);
  ranks = [];
  vi.restoreAllMocks();
});

describe('a running job', () => {
  it('refuses wrong tokens, and says so once', async () => {
    await startJob();
    for (let i = 0; i < 20; i++)
      await expect(dial(asRankOne(requests[0]!, `token:guess ${i}`), () => {})).rejects.toMatchObject({
        kind: 'denied',
      });
    await expectGoesOn();
    expectToldOnce(/no or a wrong token/);
  });

  it('refuses those without a token', async () => {
    await startJob();
    for (let i = 0; i < 20; i++) {
      const socket = await stranger();
      socket.write(`${UPGRADE}\r\n`);
      await closed(socket);
    }
    await expectGoesOn();
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('refuses another process that has the token and claims a rank that is here', async () => {
    await startJob();
    const impostor = dial(asRankOne(requests[0]!, `token:${requests[0]!.token!}`), () => {});
    await expect(impostor).rejects.toThrow(/another process is rank 1 already/);
    await expectGoesOn();
    expectToldOnce(/another process is rank 1 already/);
  });

  it('closes connections that send garbage, among them large frames without a handshake', async () => {
    await startJob();
    const huge = Buffer.from([0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    for (const data of [
      '\0\0\0\0',
      'hello\n',
      Buffer.alloc(200_000, 1),
      huge,
      `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
    ]) {
      const socket = await stranger();
      socket.write(data);
      await closed(socket);
    }
    await expectGoesOn();
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('goes on, with bounded memory, while 10,000 random and mutated frames and handshakes come', async () => {
    requests = await requestsFor(2);
    const cable = await Cable.to(requests[0]!.mainPort);
    // What a rank really sends: the handshake, then frames.
    const real: Buffer[] = [];
    cable.onNear = (data) => {
      if (real.length < 40) real.push(Buffer.from(data.subarray(0, 2000)));
    };
    ranks = await Promise.all([
      createWsTransport(requests[0]!),
      createWsTransport({ ...requests[1]!, mainPort: cable.port }),
    ]);
    work();
    await until(() => real.length === 40);
    const change = fc.record({ at: fc.double({ min: 0, max: 0.999, noNaN: true }), value: fc.nat({ max: 255 }) });
    const mutated = fc
      .tuple(fc.constantFrom(...real), fc.array(change, { minLength: 1, maxLength: 8 }))
      .map(([frame, changes]) => {
        const bytes = Buffer.from(frame);
        for (const { at, value } of changes) bytes[Math.floor(at * bytes.length)] = value;
        return bytes;
      });
    const random = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    const messages = fc.array(fc.oneof(mutated, random), { minLength: 10, maxLength: 10 });
    const before = process.memoryUsage().rss;
    let sent = 0;
    let opened = 0;
    // A connection is closed at the first message that is wrong: 10 messages each, some after a sound request for a nonce.
    await fc.assert(
      fc.asyncProperty(messages, fc.boolean(), async (all, asksFirst) => {
        const socket = await stranger();
        opened++;
        if (asksFirst) socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
        for (const message of all) {
          socket.write(message);
          sent++;
        }
        socket.end();
        await closed(socket);
        sockets = [];
      }),
      { numRuns: 1000 },
    );
    expect([sent, opened]).toEqual([10_000, 1000]);
    await expectGoesOn();
    expect(process.memoryUsage().rss - before).toBeLessThan(300_000_000);
    const lines = warn.mock.calls.map(([text]) => String(text));
    expect(lines.length).toBeGreaterThan(0);
    expect(new Set(lines).size).toBe(lines.length);
    expect(lines.filter((line) => line.includes('does not speak this protocol'))).toHaveLength(1);
    await endJob();
    await closeRanks(ranks);
    cable.close();
  });

  it('refuses a handshake that was recorded and is played again', async () => {
    requests = await requestsFor(2);
    const cable = await Cable.to(requests[0]!.mainPort);
    const recorded: Buffer[] = [];
    cable.onNear = (data) => {
      if (recorded.length < 2) recorded.push(data);
    };
    ranks = await Promise.all([
      createWsTransport(requests[0]!),
      createWsTransport({ ...requests[1]!, mainPort: cable.port }),
    ]);
    work();
    expect(recorded[1]!.toString()).toMatch(/x-tensorloom-proof/);
    for (const isWithFirst of [true, false]) {
      const socket = await stranger();
      let answer = '';
      socket.on('data', (data: Buffer) => (answer += data.toString('latin1')));
      if (isWithFirst) {
        socket.write(recorded[0]!);
        await until(() => answer.includes('\r\n\r\n'));
      }
      socket.write(recorded[1]!);
      await closed(socket);
      expect(answer).toMatch(/403 Forbidden/);
    }
    await expectGoesOn();
    expectToldOnce(/no or a wrong token/);
    await endJob();
    await closeRanks(ranks);
    cable.close();
  });

  it('closes the oldest of a flood of connections, and lets a rank come back meanwhile', async () => {
    requests = await requestsFor(2);
    const cable = await Cable.to(requests[0]!.mainPort);
    ranks = await Promise.all([
      createWsTransport(requests[0]!),
      createWsTransport({ ...requests[1]!, mainPort: cable.port }),
    ]);
    work();
    const before = process.memoryUsage().rss;
    const flood = await Promise.all(Array.from({ length: 500 }, () => stranger()));
    for (const socket of flood) socket.resume();
    cable.cut();
    await expectGoesOn();
    await until(() => flood.filter((socket) => socket.closed).length >= 500 - 64);
    expect(process.memoryUsage().rss - before).toBeLessThan(300_000_000);
    expect(warn.mock.calls.map(([text]) => String(text)).filter((text) => text.includes('More than 64'))).toHaveLength(
      1,
    );
    await endJob();
    await closeRanks(ranks);
    cable.close();
  });

  it('closes connections that say who they are too slowly', async () => {
    await startJob();
    const slow = await Promise.all(Array.from({ length: 20 }, () => stranger()));
    const timer = setInterval(() => {
      for (const socket of slow) if (!socket.destroyed) socket.write('x');
    }, 200);
    for (const socket of slow) socket.write('GET / HTTP/1.1\r\nx: ');
    await Promise.all(slow.map((socket) => closed(socket)));
    clearInterval(timer);
    await expectGoesOn();
    expectToldOnce(/did not show who it is within 5 s/);
  });

  it('listens on loopback only', async () => {
    await startJob();
    const own = new Set(
      readdirSync('/proc/self/fd').flatMap((fd) => {
        try {
          return [/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? ''];
        } catch {
          return [];
        }
      }),
    );
    const listening = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[3] === '0A' && own.has(fields[9] ?? ''))
        .map((fields) => fields[1]!.split(':')[0]!),
    );
    expect(listening.length).toBeGreaterThanOrEqual(2);
    expect(new Set(listening)).toEqual(new Set(['0100007F']));
  });
});
