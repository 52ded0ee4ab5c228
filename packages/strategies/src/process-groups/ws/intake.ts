/**
 * Reads a TCP connection into memory of ours instead of a new buffer for each read: 64 kB of garbage a time, and a copy. For connections that
 * we open, Node has an option for it; for accepted ones it has none, and the handle moves to a second socket by way of `_handle`, which is
 * private: where that is not as expected, and with TLS, the bytes come as 'data' events.
 */
import { Socket, type OnReadOpts } from 'node:net';
import { TLSSocket } from 'node:tls';
import { kernelReadBuffer } from '../simd/simd-reduce.ts';
import type { MessageReader } from './message-reader.ts';

/** After bulk data that were read straight into their place, so many reads look for more before they read ahead again. */
const PATIENCE = 16;
/** One for all connections, as those of single memories are: what is read is dealt with before anything else is. */
const readBuffer = kernelReadBuffer();

export class Intake {
  /** For the constructor of the socket. */
  readonly options: OnReadOpts;
  #stream: Socket | null = null;
  #reader: MessageReader | null = null;
  /** The place that is being read into. */
  #room: Uint8Array | null = null;
  #patience = 0;

  constructor() {
    this.options = {
      buffer: () => this.#next(),
      callback: (bytes, buffer) => this.#take(buffer, bytes),
    };
  }

  /** Until there is a reader, the bytes come from the stream as usual. */
  open(stream: Socket): Socket {
    this.#stream = stream;
    return stream;
  }

  readWith(reader: MessageReader): void {
    this.#reader = reader;
  }

  #next(): Uint8Array {
    const reader = this.#reader;
    if (reader === null) return readBuffer;
    this.#room = reader.room();
    if (this.#room !== null) {
      this.#patience = PATIENCE;
      return this.#room;
    }
    const buffer = reader.readBuffer ?? readBuffer;
    if (this.#patience === 0) return buffer;
    this.#patience--;
    return buffer.subarray(0, Math.min(reader.headBytes, buffer.length));
  }

  /** @returns whether to go on reading */
  #take(buffer: Uint8Array, bytes: number): boolean {
    if (this.#reader === null) return this.#stream?.push(Buffer.from(buffer.subarray(0, bytes))) ?? true;
    if (this.#room !== null) this.#reader.filled(bytes);
    else this.#reader.take(buffer.subarray(0, bytes));
    return true;
  }
}

/** Moves an accepted connection to a socket with an intake, if that is possible. The socket given is then over. */
export function withIntake(socket: Socket): { readonly stream: Socket; readonly intake: Intake | null } {
  const holder = socket as unknown as { _handle?: { readonly useUserBuffer?: unknown } | null };
  const handle = holder._handle;
  const isUsual = !(socket instanceof TLSSocket) && typeof handle?.useUserBuffer === 'function';
  if (!isUsual || socket.readableLength > 0 || socket.destroyed) return { stream: socket, intake: null };
  const intake = new Intake();
  const options = { handle, onread: intake.options, allowHalfOpen: socket.allowHalfOpen };
  const stream = intake.open(new Socket(options));
  if ((stream as unknown as { _handle?: unknown })._handle !== handle) return { stream: socket, intake: null };
  holder._handle = null;
  socket.destroy();
  return { stream, intake };
}
