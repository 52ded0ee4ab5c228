/** Reads the messages of one connection: small ones are handed on whole, bulk data go from the read buffer, or past it, to their place. */
import { isBulk, type BulkSink } from './bulk.ts';
import { EAGER_BYTES, HEADER_BYTES, readHeader, type FrameHeader } from './frames.ts';
import { WebSocketParser, type WebSocketEvents } from './web-socket-parser.ts';

export interface MessageEvents {
  /** The head of a bulk frame. @returns where its data go */
  onBulk(header: FrameHeader): BulkSink;
  /** Any other message. Its bytes are the reader's again afterwards. */
  onMessage(message: Buffer): void;
  onPing(payload: Uint8Array): void;
  onClose(): void;
  /** The other side sent what no sound rank sends; nothing more is read. */
  onFault(error: Error): void;
}

/** Messages up to this size are no bulk frames. */
const SMALL_BYTES = HEADER_BYTES + EAGER_BYTES;

export class MessageReader implements WebSocketEvents {
  readonly #parser: WebSocketParser;
  readonly #events: MessageEvents;
  /** Of the message under way; null if it comes in fragments. */
  #messageBytes: number | null = null;
  /** What there is of it so far, unless it is bulk. */
  #collected: Buffer | null = null;
  #collectedBytes = 0;
  #sink: BulkSink | null = null;
  #isStopped = false;

  /** @param isServer on which side of the WebSocket this is */
  constructor(isServer: boolean, maxMessageBytes: number, events: MessageEvents) {
    this.#parser = new WebSocketParser(isServer, maxMessageBytes, this);
    this.#events = events;
  }

  /** Nothing more is handed on. */
  stop(): void {
    this.#isStopped = true;
    this.#parser.stop();
  }

  /** Takes the next bytes, which may be changed. */
  take(bytes: Uint8Array): void {
    this.#guard(() => this.#parser.push(bytes));
  }

  /** The place to read the next bytes into, if they go there as they are. */
  room(): Uint8Array | null {
    const bytes = this.#isStopped ? 0 : this.#parser.plainBytes;
    return this.#sink === null || bytes === 0 ? null : this.#sink.room(bytes);
  }

  /** Where to read to if there is no `room`; null if anywhere does. */
  get readBuffer(): Uint8Array | null {
    return this.#sink === null || this.#isStopped ? null : this.#sink.readBuffer;
  }

  /** So many bytes were read into `room`. */
  filled(bytes: number): void {
    this.#guard(() => {
      this.#sink!.filled(bytes);
      this.#parser.skip(bytes);
    });
  }

  /** Read no more than this to find out, before they are read, where the data of the next bulk frame go. */
  get headBytes(): number {
    const { frameBytes, missingHeadBytes } = this.#parser;
    if (frameBytes === 0) return missingHeadBytes + HEADER_BYTES;
    const isInHead = this.#sink === null && this.#messageBytes !== null && this.#messageBytes > SMALL_BYTES;
    const missing = HEADER_BYTES - this.#collectedBytes;
    return isInHead && missing > 0 ? Math.min(missing, frameBytes) : frameBytes;
  }

  onBegin(bytes: number | null): void {
    this.#messageBytes = bytes;
    this.#collected = null;
    this.#collectedBytes = 0;
    this.#sink = null;
  }

  onPayload(bytes: Uint8Array): void {
    const total = this.#messageBytes;
    if (this.#sink !== null) this.#sink.accept(bytes);
    else if (total === null)
      this.#collect(bytes, Math.max(this.#collectedBytes + bytes.length, 2 * this.#collectedBytes));
    else if (this.#collectedBytes === 0 && bytes.length === total && total <= SMALL_BYTES) {
      this.#collected = Buffer.from(bytes.buffer, bytes.byteOffset, total);
      this.#collectedBytes = total;
    } else if (total <= SMALL_BYTES || this.#collectedBytes >= HEADER_BYTES) this.#collect(bytes, total);
    else this.#takeHead(bytes, total);
  }

  onEnd(): void {
    if (this.#sink !== null) {
      const sink = this.#sink;
      this.#sink = null;
      sink.end();
      return;
    }
    const message = (this.#collected ?? Buffer.alloc(0)).subarray(0, this.#collectedBytes);
    this.#collected = null;
    this.#events.onMessage(message);
  }

  onPing(payload: Uint8Array): void {
    this.#events.onPing(payload);
  }

  onClose(): void {
    this.#events.onClose();
  }

  /** @param room bytes to have room for, at least: of a message that is not larger than allowed */
  #collect(bytes: Uint8Array, room: number): void {
    this.#collected ??= Buffer.allocUnsafe(room);
    if (this.#collected.length < this.#collectedBytes + bytes.length) {
      const larger = Buffer.allocUnsafe(room);
      larger.set(this.#collected);
      this.#collected = larger;
    }
    this.#collected.set(bytes, this.#collectedBytes);
    this.#collectedBytes += bytes.length;
  }

  #takeHead(bytes: Uint8Array, total: number): void {
    const head = bytes.subarray(0, HEADER_BYTES - this.#collectedBytes);
    this.#collect(head, HEADER_BYTES);
    if (this.#collectedBytes < HEADER_BYTES) return;
    const header = readHeader(this.#collected!, total);
    const rest = bytes.subarray(head.length);
    if (isBulk(header)) {
      this.#sink = this.#events.onBulk(header);
      if (rest.length > 0 && !this.#isStopped) this.#sink.accept(rest);
    } else {
      this.#collect(rest, total);
    }
  }

  #guard(read: () => void): void {
    if (this.#isStopped) return;
    try {
      read();
    } catch (error) {
      this.stop();
      this.#events.onFault(error as Error);
    }
  }
}
