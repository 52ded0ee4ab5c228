/** One authenticated WebSocket between two ranks, from either side. */
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { Hello } from './handshake.ts';

/** An open connection, before the link that it belongs to listens to it. */
export interface Connection {
  readonly socket: WebSocket;
  /** What is under it. */
  readonly stream: Socket;
  /** Of the other side. */
  readonly hello: Hello;
}

const ZEROS = (mask: Buffer): void => void mask.fill(0);

/** What both sides of a WebSocket agree on here. */
export function socketOptions(maxFrameBytes: number) {
  return {
    perMessageDeflate: false as const,
    skipUTF8Validation: true,
    maxPayload: maxFrameBytes,
    allowSynchronousEvents: true,
    // Masking guards proxies against pages in browsers; a mask of zeros is skipped on both sides.
    generateMask: ZEROS,
  };
}

/** Pieces of so many bytes mostly fit one read of the socket, so that they reach us without being joined. */
const PIECE_BYTES = 32 * 1024;

/** Sends one message made of `head` and `data`, without joining or copying them. */
export function sendMessage({ socket, stream }: Connection, head: Buffer, data: Uint8Array | null): void {
  if (socket.readyState !== WebSocket.OPEN) return;
  if (data === null || data.length === 0) {
    socket.send(head, { binary: true });
    return;
  }
  stream.cork();
  socket.send(head, { binary: true, fin: false });
  for (let from = 0; from < data.length; from += PIECE_BYTES) {
    const to = Math.min(from + PIECE_BYTES, data.length);
    const piece = Buffer.from(data.buffer, data.byteOffset + from, to - from);
    socket.send(piece, { binary: true, fin: to === data.length });
  }
  stream.uncork();
}
