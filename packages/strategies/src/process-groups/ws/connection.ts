/** One authenticated WebSocket between two ranks, from either side. Its library shakes hands and closes; messages are written and read here. */
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { Hello } from './handshake.ts';
import type { Intake } from './intake.ts';
import type { MessageReader } from './message-reader.ts';

/** An open connection, before the link that it belongs to listens to it. */
export interface Connection {
  readonly socket: WebSocket;
  /** What is under it. */
  readonly stream: Socket;
  /** How the stream is read, if not by its events. */
  readonly intake: Intake | null;
  /** Of the other side. */
  readonly hello: Hello;
  /** Whether this side accepted it. */
  readonly isServer: boolean;
  /** The largest message that is accepted. */
  readonly maxFrameBytes: number;
}

const BINARY_AND_FINAL = 0x82;

/** What both sides of a WebSocket agree on here. */
export function socketOptions(maxFrameBytes: number) {
  return { perMessageDeflate: false as const, skipUTF8Validation: true, maxPayload: maxFrameBytes };
}

/** Sends one message made of `head` and `data`, without joining or copying the data. */
export function sendMessage({ socket, stream, isServer }: Connection, head: Uint8Array, data: Uint8Array | null): void {
  if (socket.readyState !== WebSocket.OPEN) return;
  const dataBytes = data?.length ?? 0;
  const first = frameHead(head.length + dataBytes, !isServer, head);
  if (data === null || dataBytes === 0) {
    stream.write(first);
    return;
  }
  stream.cork();
  stream.write(first);
  stream.write(Buffer.from(data.buffer, data.byteOffset, dataBytes));
  stream.uncork();
}

/** The head of a WebSocket frame, and the beginning of its payload. */
function frameHead(bytes: number, isMasked: boolean, beginning: Uint8Array): Buffer {
  const lengthBytes = bytes < 126 ? 0 : bytes < 65_536 ? 2 : 8;
  const headBytes = 2 + lengthBytes + (isMasked ? 4 : 0);
  const frame = Buffer.allocUnsafe(headBytes + beginning.length);
  frame[0] = BINARY_AND_FINAL;
  frame[1] = (isMasked ? 0x80 : 0) | (lengthBytes === 0 ? bytes : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) frame.writeUInt16BE(bytes, 2);
  else if (lengthBytes === 8) frame.writeBigUInt64BE(BigInt(bytes), 2);
  // Masking guards proxies against pages in browsers; a mask of zeros changes nothing.
  if (isMasked) frame.fill(0, headBytes - 4, headBytes);
  frame.set(beginning, headBytes);
  return frame;
}

/** Reads everything from here on with `reader`, past the library. */
export function readWith({ stream, intake }: Connection, reader: MessageReader): void {
  stream.removeAllListeners('data');
  // What came along with the end of the handshake.
  const early = stream.read() as Buffer | null;
  if (early !== null) reader.take(early);
  intake?.readWith(reader);
  stream.on('data', (bytes: Buffer) => reader.take(bytes));
}
