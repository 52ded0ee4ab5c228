/** `send` and `receive` between two ranks of a group, matched by tag, in order. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { mismatch, type CollectiveCall } from '../collective-call.ts';
import type { BulkSink } from './bulk.ts';
import { EAGER_BYTES, FrameKind, type FrameHeader } from './frames.ts';
import { MAX_EAGER_MESSAGES } from './link.ts';
import { bytesOf, Slot } from './slot.ts';
import type { WsTransport } from './ws-transport.ts';

/** A `receive` announces itself to the sender of bulk data by a frame without data at this offset; a `send` has none. */
interface Waiting {
  readonly peer: number;
  readonly tag: number;
  readonly message: number;
  readonly text: string;
  readonly isReceive: boolean;
  readonly slot: Slot | null;
  readonly resolve: () => void;
}

export class PointToPoint {
  readonly #group: WsTransport;
  /** Messages so far, by direction, peer and tag. */
  readonly #counts = new Map<string, number>();
  /** Small messages that came before `receive`, and announcements of large ones. */
  readonly #early = new Map<string, { readonly text: string; readonly total: number; readonly data: Buffer | null }>();
  /** Ranks that wait in `receive` for a large message. */
  readonly #ready = new Map<string, string>();
  #waiting: Waiting | null = null;

  constructor(group: WsTransport) {
    this.#group = group;
  }

  waitsFor(peer: number): boolean {
    return this.#waiting?.peer === peer;
  }

  async run(call: CollectiveCall): Promise<void> {
    const { peer, tag, kind } = call;
    const array = (call.input ?? call.output)!;
    const text = `${call.elementType}[${array.length}]`;
    const direction = kind === 'send' ? 'to' : 'from';
    const counter = `${direction} ${peer} ${tag >>> 0}`;
    const message = (this.#counts.get(counter) ?? 0) + 1;
    this.#counts.set(counter, message);
    if (peer === this.#group.rank)
      throw new TensorloomError('BAD_OPTION', `${kind}: rank ${peer} is this rank itself; copy the array.`);
    if (kind === 'send') await this.#send(peer, tag, message, text, bytesOf(array));
    else await this.#receive(peer, tag, message, text, new Slot(array, null, call.elementType));
  }

  async #send(peer: number, tag: number, message: number, text: string, data: Uint8Array): Promise<void> {
    const link = this.#group.link(peer);
    if (link.hasLeft) throw this.#group.left(peer);
    if (data.length <= EAGER_BYTES) {
      await link.hasCredit();
      link.eagerSent++;
      this.#sendFrame(peer, tag, message, text, data, 0, data.length);
      return;
    }
    const key = keyOf(peer, tag, message);
    this.#sendFrame(peer, tag, message, text, null, 0, data.length);
    const ready = this.#ready.get(key);
    if (ready === undefined)
      await new Promise<void>((resolve) => {
        this.#waiting = { peer, tag, message, text, isReceive: false, slot: null, resolve };
      });
    else if (ready !== text) return this.#mismatch(peer, `send ${text}`, `receive ${ready}`);
    this.#ready.delete(key);
    const { chunkBytes } = this.#group;
    for (let offset = 0; offset < data.length; offset += chunkBytes) {
      await link.writable();
      this.#sendFrame(
        peer,
        tag,
        message,
        '',
        data.subarray(offset, Math.min(offset + chunkBytes, data.length)),
        offset,
        data.length,
      );
    }
    await link.released();
  }

  async #receive(peer: number, tag: number, message: number, text: string, slot: Slot): Promise<void> {
    const key = keyOf(peer, tag, message);
    const early = this.#early.get(key);
    this.#early.delete(key);
    if (early !== undefined && early.text !== text)
      return this.#mismatch(peer, `receive ${text}`, `send ${early.text}`);
    if (early?.data !== undefined && early.data !== null) {
      if (early.data.length > 0) slot.accept(early.data);
      this.#group.link(peer).acknowledgeEager();
      return;
    }
    if (early === undefined && this.#group.link(peer).hasLeft) throw this.#group.left(peer);
    await new Promise<void>((resolve) => {
      this.#waiting = { peer, tag, message, text, isReceive: true, slot, resolve };
      if (slot.totalBytes > EAGER_BYTES)
        this.#sendFrame(peer, tag, message, text, null, slot.totalBytes, slot.totalBytes);
    });
  }

  /** @throws TensorloomError for what no sound rank sends */
  onFrame(peer: number, header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void {
    const key = keyOf(peer, header.step, header.call);
    const waiting = this.#waiting;
    const isWaitedFor = waiting !== null && keyOf(waiting.peer, waiting.tag, waiting.message) === key;
    const isFromReceiver = header.dataBytes === 0 && header.offset > 0;
    if (isFromReceiver) {
      if (isWaitedFor && !waiting.isReceive) {
        if (waiting.text !== text) return this.#mismatch(peer, `send ${waiting.text}`, `receive ${text}`);
        this.#done();
      } else if (this.#ready.size < MAX_EAGER_MESSAGES) this.#ready.set(key, text);
      else throw new TensorloomError('BAD_DATA', 'Too many calls of receive at once.');
      return;
    }
    const isWhole = header.dataBytes === header.total && header.total <= EAGER_BYTES;
    if (isWaitedFor && waiting.isReceive) {
      if (text !== '' && text !== waiting.text) return this.#mismatch(peer, `receive ${waiting.text}`, `send ${text}`);
      const slot = waiting.slot!;
      if (header.dataBytes === 0 && !isWhole) return;
      slot.check(header);
      for (const piece of pieces) slot.accept(piece);
      if (isWhole) this.#group.link(peer).acknowledgeEager();
      if (slot.isComplete) this.#done();
    } else if (
      text !== '' &&
      (isWhole || header.dataBytes === 0) &&
      this.#early.size < 2 * MAX_EAGER_MESSAGES * this.#group.worldSize
    )
      this.#early.set(key, { text, total: header.total, data: isWhole ? Buffer.concat(pieces) : null });
    else throw new TensorloomError('BAD_DATA', 'A part of a message came that nobody waits for.');
  }

  /**
   * Where bulk data go.
   * @throws TensorloomError `BAD_DATA` for what no sound rank sends
   */
  bulk(peer: number, header: FrameHeader): BulkSink {
    const waiting = this.#waiting;
    const isWaitedFor =
      waiting !== null &&
      keyOf(waiting.peer, waiting.tag, waiting.message) === keyOf(peer, header.step, header.call) &&
      waiting.isReceive;
    if (!isWaitedFor) throw new TensorloomError('BAD_DATA', 'A part of a message came that nobody waits for.');
    const slot = waiting.slot!;
    return slot.sinkFor(header, () => {
      if (slot.isComplete) this.#done();
    });
  }

  #done(): void {
    const { resolve } = this.#waiting!;
    this.#waiting = null;
    resolve();
  }

  #mismatch(peer: number, own: string, other: string): void {
    this.#group.fail(
      mismatch(
        new Map([
          [this.#group.globalRanks[this.#group.rank]!, own],
          [this.#group.globalRanks[peer]!, other],
        ]),
      ),
    );
  }

  #sendFrame(
    peer: number,
    tag: number,
    call: number,
    text: string,
    data: Uint8Array | null,
    offset: number,
    total: number,
  ): void {
    if (this.#group.error !== null) throw this.#group.error;
    const { hash: group } = this.#group;
    this.#group
      .link(peer)
      .send({ kind: FrameKind.pointToPoint, group, call, step: tag >>> 0, offset, total, text, data });
  }
}

function keyOf(peer: number, tag: number, message: number): string {
  return `${peer} ${tag >>> 0} ${message}`;
}
