/**
 * A reliable stream of frames to one other rank, over one WebSocket after another: frames are numbered, kept until the other side
 * has acknowledged them, and sent again over the next connection from the first that did not arrive.
 */
import { TensorloomError } from '@tensorloom/core/distributed';
import { WebSocket } from 'ws';
import { Conditions } from './conditions.ts';
import { Arrivals } from './arrivals.ts';
import type { BulkSink } from './bulk.ts';
import { readWith, sendMessage, type Connection } from './connection.ts';
import {
  acknowledgement,
  EAGER_BYTES,
  FrameKind,
  headerOf,
  readFrame,
  writeHeader,
  type FrameHeader,
  type OutgoingFrame,
} from './frames.ts';
import { MessageReader } from './message-reader.ts';

/** So much may wait in the socket (by reference) before senders pause, so that word of a failure does not queue behind all of a large call. */
const HIGH_WATER_BYTES = 32 * 1024 * 1024;
/** Messages of `send` that may be under way before the other side takes one. */
export const MAX_EAGER_MESSAGES = 256;

interface KeptFrame {
  readonly sequence: number;
  readonly head: Buffer;
  readonly data: Uint8Array | null;
}

export interface LinkEvents {
  /** @param pieces the data, in pieces as they came. @throws TensorloomError what makes the other side faulty */
  onFrame(header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void;
  /** @returns where the data of such a frame go. @throws TensorloomError what makes the other side faulty */
  onBulk(header: FrameHeader): BulkSink;
  /** The other side sent what no sound rank sends. */
  onFault(error: TensorloomError): void;
  /** The connection is gone, and nobody meant it. */
  onCut(): void;
}

export class Link {
  /** In the world. */
  readonly peer: number;
  /** The other process, once it has shown itself. */
  peerInstance: string | null = null;
  /** It said goodbye. */
  hasLeft = false;
  lastHeardMs = performance.now();
  eagerSent = 0;
  /** Eager messages from the peer that were taken here. */
  eagerTaken = 0;
  readonly #events: LinkEvents;
  readonly #arrivals = new Arrivals();
  #connection: Connection | null = null;
  #reader: MessageReader | null = null;
  #kept: KeptFrame[] = [];
  #sequence = 0;
  #lastByReference = 0;
  #acknowledged = 0;
  #eagerTakenByPeer = 0;
  #lastBytesRead = 0;
  #sentSinceTick = false;
  readonly #conditions = new Conditions();

  constructor(peer: number, events: LinkEvents) {
    this.peer = peer;
    this.#events = events;
  }

  /** The last frame that arrived. */
  get received(): number {
    return this.#arrivals.received;
  }

  get isConnected(): boolean {
    return this.#connection?.socket.readyState === WebSocket.OPEN;
  }

  /** Nothing sent is still unacknowledged. */
  get isFlushed(): boolean {
    return this.#kept.length === 0;
  }

  /** Whether the other side can have received as much as it says. */
  fits(received: number): boolean {
    return received >= this.#acknowledged && received <= this.#sequence;
  }

  /** Takes a new connection in place of the one before, and sends what the other side has not received. */
  attach(connection: Connection): void {
    const { socket, stream, hello, isServer, maxFrameBytes } = connection;
    this.detach();
    this.peerInstance = hello.instance;
    this.#connection = connection;
    this.lastHeardMs = performance.now();
    this.#lastBytesRead = stream.bytesRead;
    stream.setNoDelay(true);
    this.#reader = new MessageReader(isServer, maxFrameBytes, {
      onMessage: (message) => this.#onMessage(message),
      onBulk: (header) => this.#onBulk(header),
      onPing: (payload) => socket.pong(payload),
      onClose: () => socket.terminate(),
      onFault: (error) => this.#fault(error.message),
    });
    // 'close' follows.
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#connection !== connection) return;
      this.#connection = null;
      if (!this.hasLeft) this.#events.onCut();
    });
    stream.on('drain', () => this.#conditions.check());
    this.#onAcknowledged(hello.received);
    for (const { head, data } of this.#kept) sendMessage(connection, head, data);
    // Whoever waits for its memory asked over the connection that is gone.
    this.#sendAcknowledgement(true);
    readWith(connection, this.#reader);
  }

  /** Drops the connection, not the link. */
  detach(): void {
    const connection = this.#connection;
    this.#connection = null;
    this.#reader?.stop();
    connection?.socket.terminate();
  }

  send(frame: OutgoingFrame): void {
    const { data, text } = frame;
    const dataBytes = data?.length ?? 0;
    const textBytes = text === '' ? 0 : Buffer.byteLength(text);
    const isCopied = dataBytes <= EAGER_BYTES;
    const header = writeHeader(headerOf(frame, ++this.#sequence, this.received, textBytes, dataBytes));
    const copied = isCopied && data !== null ? [data] : [];
    const head = textBytes + copied.length === 0 ? header : Buffer.concat([header, Buffer.from(text), ...copied]);
    this.#kept.push({ sequence: this.#sequence, head, data: isCopied ? null : data });
    if (!isCopied) this.#lastByReference = this.#sequence;
    this.#sentSinceTick = true;
    if (this.#connection !== null) sendMessage(this.#connection, head, isCopied ? null : data);
  }

  /** Resolves when bulk data may be sent. */
  writable(): Promise<void> | undefined {
    return this.#conditions.when(() => (this.#connection?.stream.writableLength ?? 0) < HIGH_WATER_BYTES);
  }

  /** Resolves when another eager message may be sent. */
  hasCredit(): Promise<void> | undefined {
    return this.#conditions.when(() => this.eagerSent - this.#eagerTakenByPeer < MAX_EAGER_MESSAGES);
  }

  /** Says at once what has arrived. */
  acknowledge(): void {
    this.#sendAcknowledgement(false);
  }

  askForAcknowledgement(): void {
    if (this.#kept.length > 0) this.#sendAcknowledgement(true);
  }

  /** Resolves when no memory of the caller's is needed any more. */
  released(): Promise<void> | undefined {
    const last = this.#lastByReference;
    if (this.#acknowledged < last) this.#sendAcknowledgement(true);
    return this.#conditions.when(() => this.#acknowledged >= last);
  }

  /** Called regularly: gives a sign of life unless something was sent, and sees whether there was one from the other side. */
  tick(now: number): void {
    if (this.#connection === null) return;
    const { bytesRead } = this.#connection.stream;
    if (bytesRead !== this.#lastBytesRead) this.lastHeardMs = now;
    this.#lastBytesRead = bytesRead;
    if (!this.#sentSinceTick || this.#arrivals.hasUnacknowledged) this.#sendAcknowledgement(false);
    this.#sentSinceTick = false;
  }

  acknowledgeEager(): void {
    if (++this.eagerTaken % 64 === 0) this.#sendAcknowledgement(false);
  }

  #onMessage(message: Buffer): void {
    const { header, text, data } = readFrame([message]);
    this.#onHeader(header);
    if (header.kind === FrameKind.acknowledgement) this.#onAcknowledgement(header);
    else if (this.#arrivals.take(header)) {
      this.#events.onFrame(header, text, data);
      this.#acknowledgeIfDue();
    }
  }

  #onBulk(header: FrameHeader): BulkSink {
    this.#onHeader(header);
    return this.#arrivals.begin(
      header,
      () => this.#events.onBulk(header),
      () => this.#acknowledgeIfDue(),
    );
  }

  #onHeader({ acknowledged }: FrameHeader): void {
    this.lastHeardMs = performance.now();
    if (acknowledged > this.#sequence)
      throw new TensorloomError('BAD_DATA', `It acknowledges frame ${acknowledged} of ${this.#sequence}.`);
    this.#onAcknowledged(acknowledged);
  }

  #onAcknowledgement(header: FrameHeader): void {
    if (header.total > this.eagerSent)
      throw new TensorloomError('BAD_DATA', `It took ${header.total} of ${this.eagerSent} messages.`);
    this.#eagerTakenByPeer = Math.max(this.#eagerTakenByPeer, header.total);
    if (header.isLast) this.#sendAcknowledgement(false);
    this.#conditions.check();
  }

  #acknowledgeIfDue(): void {
    if (this.#arrivals.isAcknowledgementDue) this.#sendAcknowledgement(false);
  }

  #onAcknowledged(sequence: number): void {
    if (sequence <= this.#acknowledged) return;
    this.#acknowledged = sequence;
    let count = 0;
    while (count < this.#kept.length && this.#kept[count]!.sequence <= sequence) count++;
    this.#kept.splice(0, count);
    this.#conditions.check();
  }

  #sendAcknowledgement(asksForOne: boolean): void {
    this.#arrivals.acknowledged();
    this.#sentSinceTick = true;
    if (this.#connection === null) return;
    sendMessage(this.#connection, writeHeader(acknowledgement(asksForOne, this.received, this.eagerTaken)), null);
  }

  #fault(what: string): void {
    this.detach();
    this.#events.onFault(
      new TensorloomError(
        'RANK_LOST',
        `Rank ${this.peer} sent what no rank of this job sends, and was cut off: ${what}`,
      ),
    );
  }
}
