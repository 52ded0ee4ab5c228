/** Takes a stream of bytes apart into WebSocket messages (RFC 6455), without joining or keeping their payload. */
import { TensorloomError } from '@tensorloom/core/distributed';

export interface WebSocketEvents {
  /** A message begins. @param bytes its size, or null if it comes in fragments */
  onBegin(bytes: number | null): void;
  /** More of it. The bytes are the parser's again afterwards. */
  onPayload(bytes: Uint8Array): void;
  onEnd(): void;
  onPing(payload: Uint8Array): void;
  /** The other side closes. */
  onClose(): void;
}

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const MAX_HEAD_BYTES = 14;
const MAX_CONTROL_BYTES = 125;

export class WebSocketParser {
  readonly #isMasked: boolean;
  readonly #maxMessageBytes: number;
  readonly #events: WebSocketEvents;
  readonly #head = new Uint8Array(MAX_HEAD_BYTES);
  #headBytes = 0;
  /** The frame under way. */
  #opcode = 0;
  #isFinal = false;
  #leftBytes = 0;
  #isInFrame = false;
  readonly #mask = new Uint8Array(4);
  #hasMask = false;
  #maskAt = 0;
  /** The message under way, over all its fragments. */
  #isInMessage = false;
  #messageBytes = 0;
  readonly #control = new Uint8Array(MAX_CONTROL_BYTES);
  #controlBytes = 0;
  #isClosed = false;

  /**
   * @param isMasked whether what comes must be masked: on the side of the server
   * @param maxMessageBytes over all fragments
   */
  constructor(isMasked: boolean, maxMessageBytes: number, events: WebSocketEvents) {
    this.#isMasked = isMasked;
    this.#maxMessageBytes = maxMessageBytes;
    this.#events = events;
  }

  /** Bytes that are missing to the end of the frame under way, if their mask changes nothing: they may go to their place unseen. */
  get plainBytes(): number {
    return this.#isInFrame && !this.#hasMask && this.#opcode < CLOSE ? this.#leftBytes : 0;
  }

  /** Bytes that are missing to the end of the frame under way; 0 between frames. */
  get frameBytes(): number {
    return this.#isInFrame ? this.#leftBytes : 0;
  }

  /** Between frames: bytes to the end of the next head, taken for that of a long frame as long as that is open. */
  get missingHeadBytes(): number {
    const { length } = this.#head;
    const longest = this.#isMasked ? length : length - 4;
    return (this.#headBytes < 2 ? longest : headBytesOf(this.#head, 2, this.#isMasked)) - this.#headBytes;
  }

  /** Nothing more is handed on. */
  stop(): void {
    this.#isClosed = true;
  }

  /** So many of `plainBytes` went to their place. */
  skip(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#leftBytes === 0 && !this.#isClosed) this.#endFrame();
  }

  /**
   * Takes the next bytes; masked ones are unmasked where they are.
   * @throws TensorloomError `BAD_DATA` for what is not allowed in a WebSocket here
   */
  push(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length && !this.#isClosed) {
      if (!this.#isInFrame) {
        this.#head[this.#headBytes++] = bytes[from++]!;
        if (this.#headBytes === headBytesOf(this.#head, this.#headBytes, this.#isMasked)) this.#beginFrame();
        continue;
      }
      const to = Math.min(from + this.#leftBytes, bytes.length);
      const payload = bytes.subarray(from, to);
      if (this.#hasMask) for (let i = 0; i < payload.length; i++) payload[i]! ^= this.#mask[this.#maskAt++ & 3]!;
      this.#leftBytes -= to - from;
      from = to;
      if (this.#opcode < CLOSE) this.#events.onPayload(payload);
      else {
        this.#control.set(payload, this.#controlBytes);
        this.#controlBytes += payload.length;
      }
      if (this.#leftBytes === 0 && !this.#isClosed) this.#endFrame();
    }
  }

  #beginFrame(): void {
    const head = this.#head;
    const [first, second] = head as unknown as [number, number];
    this.#headBytes = 0;
    if ((first & 0x70) !== 0) throw malformed('reserved bits are set');
    this.#opcode = first & 0x0f;
    this.#isFinal = (first & 0x80) !== 0;
    if (second >= 0x80 !== this.#isMasked)
      throw malformed(this.#isMasked ? 'a frame is not masked' : 'a frame is masked');
    const short = second & 0x7f;
    const view = new DataView(head.buffer);
    const bytes = short < 126 ? short : short === 126 ? view.getUint16(2) : Number(view.getBigUint64(2));
    if (this.#isMasked) this.#setMask(headBytesOf(head, 2, true) - 4);
    if (this.#opcode >= CLOSE) this.#beginControl(bytes);
    else this.#beginData(bytes);
    this.#leftBytes = bytes;
    this.#isInFrame = true;
    if (bytes === 0) this.#endFrame();
  }

  #setMask(at: number): void {
    this.#mask.set(this.#head.subarray(at, at + 4));
    this.#hasMask = this.#mask.some((byte) => byte !== 0);
    this.#maskAt = 0;
  }

  #beginControl(bytes: number): void {
    if (this.#opcode > PONG) throw malformed(`opcode ${this.#opcode}`);
    if (!this.#isFinal || bytes > MAX_CONTROL_BYTES) throw malformed(`a control frame of ${bytes} bytes or in pieces`);
    this.#controlBytes = 0;
  }

  #beginData(bytes: number): void {
    if (this.#opcode === TEXT) throw malformed('a message is text');
    if (this.#opcode > BINARY) throw malformed(`opcode ${this.#opcode}`);
    if ((this.#opcode === CONTINUATION) !== this.#isInMessage) throw malformed('fragments out of order');
    const total = (this.#isInMessage ? this.#messageBytes : 0) + bytes;
    if (total > this.#maxMessageBytes)
      throw malformed(`a message of ${total} bytes, allowed are ${this.#maxMessageBytes}`);
    this.#messageBytes = total;
    if (!this.#isInMessage) this.#events.onBegin(this.#isFinal ? bytes : null);
    this.#isInMessage = true;
  }

  #endFrame(): void {
    this.#isInFrame = false;
    if (this.#opcode < CLOSE) {
      if (!this.#isFinal) return;
      this.#isInMessage = false;
      this.#events.onEnd();
    } else if (this.#opcode === PING) this.#events.onPing(this.#control.slice(0, this.#controlBytes));
    else if (this.#opcode === CLOSE) {
      this.#isClosed = true;
      this.#events.onClose();
    }
  }
}

/** Size of a frame's head, as far as its first `known` bytes tell. */
function headBytesOf(head: Uint8Array, known: number, isMasked: boolean): number {
  if (known < 2) return 2;
  const short = head[1]! & 0x7f;
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (isMasked && head[1]! >= 0x80 ? 4 : 0);
}

function malformed(what: string): TensorloomError {
  return new TensorloomError('BAD_DATA', `Its messages are no WebSocket messages of this job (${what}).`);
}
