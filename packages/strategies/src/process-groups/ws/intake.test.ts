/** What is read into memory of ours: small messages whole, bulk data at their place, however the reads fall, and over cuts. */
import { connect, createServer, Socket, type AddressInfo } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocateKernelMemory } from '../simd/kernel-memory.ts';
import { adoptMemory } from '../simd/reduce-in-place.ts';
import { Arrivals } from './arrivals.ts';
import { NOWHERE } from './bulk.ts';
import { EAGER_BYTES, FrameKind, HEADER_BYTES, writeHeader } from './frames.ts';
import { Intake, withIntake } from './intake.ts';
import { MessageReader } from './message-reader.ts';
import { Slot } from './slot.ts';
import { encode } from './web-socket-frames.testing.ts';

const mask = new Uint8Array(4);

function frame(sequence: number, offset: number, total: number, data: Uint8Array, masked = mask): Buffer {
  const rest = { isLast: false, textBytes: 0, group: 0, acknowledged: 0, call: 1, step: 0 };
  const head = writeHeader({ ...rest, kind: FrameKind.collective, sequence, offset, total, dataBytes: data.length });
  return encode({ opcode: 2, payload: Buffer.concat([head, data]), mask: masked });
}

/** One transfer over a link, read as a socket would. */
class Receiver {
  readonly arrivals = new Arrivals();
  readonly slot: Slot;
  /** Sizes of the messages that came whole. */
  readonly messages: number[] = [];
  fault: Error | null = null;
  directReads = 0;
  #reads: Intake = new Intake();

  constructor(slot: Slot) {
    this.slot = slot;
    this.connect();
  }

  /** Anew, as after a cut. */
  connect(): void {
    this.#reads = new Intake();
    this.#reads.readWith(
      new MessageReader(true, 1_000_000, {
        onBulk: (header) =>
          this.arrivals.begin(
            header,
            () => this.slot.sinkFor(header, () => {}),
            () => {},
          ),
        onMessage: (message) => void this.messages.push(message.length),
        onPing: () => {},
        onClose: () => {},
        onFault: (error) => (this.fault = error),
      }),
    );
  }

  receive(stream: Uint8Array, readBytes: () => number): void {
    const { buffer, callback } = this.#reads.options;
    let into = (buffer as () => Uint8Array)();
    for (let from = 0; from < stream.length;) {
      const bytes = Math.min(readBytes(), into.length, stream.length - from);
      into.set(stream.subarray(from, from + bytes));
      if (into.buffer instanceof SharedArrayBuffer) this.directReads++;
      from += bytes;
      callback(bytes, into);
      into = (buffer as () => Uint8Array)();
    }
  }
}

function numbers(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => (i % 1009) - 500);
}

const chunk = fc.integer({ min: EAGER_BYTES / 4 + 1, max: 30_000 });
/** Sizes of reads: pseudo-random up to a largest. */
const reads = fc.tuple(fc.constantFrom(2000, 20_000, 200_000), fc.nat()).map(([most, seed]) => {
  let state = seed;
  return () => 1 + ((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) % most);
});
const masks = fc.constantFrom(mask, Uint8Array.of(1, 2, 3, 4));

const ofKernels = (bytes: number) => adoptMemory(allocateKernelMemory(Math.max(bytes, 1_000_000))!);
const shared = (bytes: number) => new SharedArrayBuffer(bytes);

describe.each([
  ['are put in their place', null, shared],
  ['are added', 'sum', shared],
  ['are added in the memory of the kernels', 'sum', ofKernels],
] as const)('bulk data that %s', (_, reduction, allocate) => {
  const start = reduction === null ? 0 : 1;

  it('come as they were sent, among small messages, and over cuts', () => {
    let directReads = 0;
    fc.assert(
      fc.property(
        fc.array(chunk, { minLength: 1, maxLength: 5 }),
        reads,
        masks,
        fc.nat(),
        (chunks, next, masked, cut) => {
          const data = numbers(chunks.reduce((sum, length) => sum + length, 0));
          const target = new Float32Array(allocate(data.byteLength + 4), 4, data.length).fill(start);
          const receiver = new Receiver(new Slot(target, reduction, 'float32'));
          const frames: Buffer[] = [];
          let from = 0;
          for (const length of chunks) {
            const bytes = new Uint8Array(data.buffer, 4 * from, 4 * length);
            frames.push(frame(frames.length + 1, 4 * from, data.byteLength, bytes, masked));
            from += length;
          }
          const small = encode({ opcode: 2, payload: new Uint8Array(HEADER_BYTES), mask });
          const streamFrom = (first: number) =>
            Buffer.concat([...frames.slice(first).flatMap((bytes) => [small, bytes]), small]);
          const all = streamFrom(0);
          receiver.receive(all.subarray(0, cut % all.length), next);
          const before = receiver.messages.length;
          receiver.connect();
          receiver.receive(streamFrom(receiver.arrivals.received), next);
          expect(receiver.fault).toBeNull();
          expect(receiver.messages.length).toBeGreaterThan(before);
          expect(receiver.slot.isComplete).toBe(true);
          expect(target.findIndex((value, i) => value !== data[i]! + start)).toBe(-1);
          directReads += receiver.directReads;
        },
      ),
      { numRuns: 100 },
    );
    // What is not worked on is read straight to its place, and what kernels add, into their memory.
    expect(directReads > 0).toBe(reduction === null || allocate === ofKernels);
  });

  it('that come again as others are refused', () => {
    const target = new Float32Array(allocate(80_000), 0, 20_000);
    const receiver = new Receiver(new Slot(target, reduction, 'float32'));
    const data = new Uint8Array(40_000);
    receiver.receive(frame(1, 0, 80_000, data).subarray(0, 30_000), () => 1000);
    receiver.connect();
    receiver.receive(frame(1, 0, 80_000, data.subarray(0, 36_000)), () => 1000);
    expect(receiver.fault).toMatchObject({ code: 'BAD_DATA' });
  });

  it('and reach beyond their place, or leave a gap, are refused before any are taken', () => {
    for (const [offset, total] of [
      [0, 90_000],
      [40, 80_000],
    ] as const) {
      const target = new Float32Array(allocate(80_000), 0, 20_000).fill(7);
      const receiver = new Receiver(new Slot(target, reduction, 'float32'));
      receiver.receive(frame(1, offset, total, new Uint8Array(40_000)), () => 1000);
      expect(receiver.fault).toMatchObject({ code: 'BAD_DATA' });
      expect(target.every((value) => value === 7)).toBe(true);
    }
  });
});

describe('an accepted connection', () => {
  it('moves to a socket with an intake, and the first one is over', async () => {
    const messages: string[] = [];
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const first = await accepted;
    const { stream, intake } = withIntake(first);
    expect(intake).not.toBeNull();
    expect(first.destroyed).toBe(true);
    const events = { onBulk: () => NOWHERE, onPing: () => {}, onClose: () => {}, onFault: () => {} };
    await new Promise<void>((resolve) => {
      const onMessage = (message: Buffer) => {
        messages.push(message.toString());
        resolve();
      };
      intake!.readWith(new MessageReader(true, 1000, { ...events, onMessage }));
      client.write(encode({ opcode: 2, payload: Buffer.from('hello'), mask }));
    });
    const answer = new Promise<string>((resolve) => client.once('data', (data) => resolve(data.toString())));
    stream.write('welcome');
    expect([messages, await answer]).toEqual([['hello'], 'welcome']);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.resume();
    client.destroy();
    await closed;
    server.close();
  });

  it('stays as it is where the handle is not as expected', () => {
    const socket = new Socket();
    expect(withIntake(socket)).toEqual({ stream: socket, intake: null });
    socket.destroy();
  });
});
