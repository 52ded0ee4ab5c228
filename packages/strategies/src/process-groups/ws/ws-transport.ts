/** Carries out the collectives of one group of ranks over a mesh of WebSockets. */
import { createHash } from 'node:crypto';
import { TensorloomError, type CollectiveArray, type ReduceOp } from '@tensorloom/core/distributed';
import { describeCall, mismatch, type CollectiveCall } from '../collective-call.ts';
import type { Transport } from '../transport.ts';
import { runCollective } from './collectives.ts';
import { failureCode, type ControlMessage } from './control.ts';
import { ANNOUNCEMENT, FrameKind, type FrameHeader } from './frames.ts';
import { EAGER_BYTES, type Link } from './link.ts';
import { lost, type Mesh, type MeshMember } from './mesh.ts';
import { PointToPoint } from './point-to-point.ts';
import { Slot } from './slot.ts';

/** Ranks cannot be further ahead than this many calls, since each call waits for others. */
const MAX_CALLS_AHEAD = 64;
const MAX_EARLY_FRAMES = 256;

interface Announcement {
  readonly text: string;
  readonly total: number;
}

interface EarlyFrame {
  readonly header: FrameHeader;
  readonly data: Uint8Array;
}

export class WsTransport implements Transport, MeshMember {
  readonly name = 'ws';
  readonly rank: number;
  readonly worldSize: number;
  readonly hash: number;
  readonly globalRanks: readonly number[];
  error: TensorloomError | null = null;
  readonly #id: string;
  readonly #mesh: Mesh;
  readonly #parent: WsTransport | null;
  readonly #onClose: () => void;
  readonly #pointToPoint: PointToPoint;
  readonly #children: WsTransport[] = [];
  readonly #groupRankOf = new Map<number, number>();
  /** What others have announced, by rank in the group and number of the call. */
  readonly #announced: Map<number, Announcement>[];
  readonly #slots: Map<string, Slot>[];
  readonly #early: Map<string, EarlyFrame[]>[];
  readonly #comers = new Map<number, () => void>();
  #earlyFrames = 0;
  #calls = 0;
  #call: CollectiveCall | null = null;
  /** What this call expects each rank to announce. */
  #expected: (peer: number) => Announcement = () => ({ text: '', total: 0 });
  #reject: (error: TensorloomError) => void = () => {};
  #lastProgressMs = 0;
  #isAsking = false;
  #answers = new Map<number, { readonly calls: number; readonly doing: string }>();
  #question = 0;

  constructor(
    mesh: Mesh,
    globalRanks: readonly number[],
    id: string,
    parent: WsTransport | null,
    onClose: () => void = () => {},
  ) {
    this.#mesh = mesh;
    this.#id = id;
    this.#parent = parent;
    this.#onClose = onClose;
    this.globalRanks = globalRanks;
    this.worldSize = globalRanks.length;
    this.rank = globalRanks.indexOf(mesh.request.rank);
    this.hash = createHash('sha256').update(id).digest().readUInt32LE(0);
    for (const [rank, global] of globalRanks.entries()) this.#groupRankOf.set(global, rank);
    this.#announced = globalRanks.map(() => new Map<number, Announcement>());
    this.#slots = globalRanks.map(() => new Map<string, Slot>());
    this.#early = globalRanks.map(() => new Map<string, EarlyFrame[]>());
    this.#pointToPoint = new PointToPoint(this);
    mesh.register(this);
  }

  get chunkBytes(): number {
    return this.#mesh.chunkBytes;
  }

  get doing(): string {
    return this.#call === null ? '' : describeCall(this.#call);
  }

  async execute(call: CollectiveCall): Promise<void> {
    if (this.error !== null) throw this.error;
    this.#call = call;
    this.#lastProgressMs = performance.now();
    const failed = new Promise<never>((_, reject) => (this.#reject = reject));
    try {
      // A call that failed is left where it waits: nothing wakes it any more, and it sends nothing.
      await Promise.race([this.#run(call), failed]);
    } catch (error) {
      throw this.#failure() ?? error;
    } finally {
      failed.catch(() => {});
      this.#call = null;
      this.#reject = () => {};
    }
    const failure = this.#failure();
    if (failure !== null) throw failure;
  }

  /** Read anew: it changes during waits. */
  #failure(): TensorloomError | null {
    return this.error;
  }

  async #run(call: CollectiveCall): Promise<void> {
    if (call.kind === 'send' || call.kind === 'receive') return this.#pointToPoint.run(call);
    this.#calls++;
    const text = describeCall(call);
    const { receiveCounts } = call;
    const isAllToAll = call.kind === 'all-to-all';
    const size = call.input === null ? 1 : call.input.BYTES_PER_ELEMENT;
    this.#expected = (peer) => ({ text, total: isAllToAll ? receiveCounts[peer]! * size : 0 });
    for (const peer of this.peers()) {
      const given = this.#announced[peer]!.get(this.#calls);
      if (given !== undefined) this.#compare(peer, given);
    }
    await runCollective(this, call, text);
    for (const announced of this.#announced) announced.delete(this.#calls);
  }

  async split(ranks: readonly number[], id: string): Promise<Transport | null> {
    const name = `split of ranks ${ranks.join(', ')} as ${id}`;
    const members = ranks.map((rank) => this.globalRanks[rank]!);
    const isMember = ranks.includes(this.rank);
    // Before the barrier: whoever has passed it may send to the new group.
    const child = isMember ? new WsTransport(this.#mesh, members, id, this) : null;
    if (child !== null) this.#children.push(child);
    const nothing = { input: null, output: null, elementType: 'uint8', op: null, peer: -1, tag: 0 } as const;
    await this.execute({ ...nothing, kind: 'barrier', counts: [], receiveCounts: [], name });
    return child;
  }

  abort(reason: string): void {
    this.fail(new TensorloomError('ABORTED', reason));
  }

  async close(): Promise<void> {
    if (this.#parent === null) {
      await this.#mesh.close();
      this.#onClose();
      return;
    }
    this.onFailure(new TensorloomError('ABORTED', 'This process group is closed.'));
    this.#mesh.unregister(this);
  }

  /** Fails here, and on all ranks of the group. */
  fail(error: TensorloomError): void {
    if (this.error !== null) return;
    const message = {
      type: 'failure',
      group: this.hash,
      code: failureCode(error.code),
      message: error.message,
    } as const;
    for (const peer of this.peers()) if (!this.link(peer).hasLeft) this.#mesh.tell(this.globalRanks[peer]!, message);
    this.onFailure(error);
  }

  onFailure(error: TensorloomError): void {
    if (this.error !== null) return;
    this.error = error;
    this.#reject(error);
    for (const child of this.#children) child.onFailure(error);
  }

  // What the algorithms are made of; peers are ranks in the group.

  /** All others, beginning with the next. */
  *peers(): Generator<number> {
    for (let i = 1; i < this.worldSize; i++) yield (this.rank + i) % this.worldSize;
  }

  link(peer: number): Link {
    return this.#mesh.link(this.globalRanks[peer]!);
  }

  /** Tells a rank that this one has come to the call, and how many bytes it will send it. */
  announce(peer: number, text: string, total = 0): void {
    this.#send(peer, ANNOUNCEMENT, text, null, 0, total);
  }

  /** Resolves when a rank has announced this call: then it takes what it is sent. */
  comes(peer: number): Promise<void> | undefined {
    if (this.#announced[peer]!.has(this.#calls)) return undefined;
    if (this.link(peer).hasLeft) throw this.left(peer);
    return new Promise((resolve) => this.#comers.set(peer, resolve));
  }

  /** Where a transfer goes. */
  expect(peer: number, step: number, target: CollectiveArray, reduction: ReduceOp | null = null): Slot {
    const slot = new Slot(target, reduction, this.#call!.elementType);
    const key = keyOf(this.#calls, step);
    if (slot.totalBytes === 0) return slot;
    this.#slots[peer]!.set(key, slot);
    const early = this.#early[peer]!.get(key) ?? [];
    this.#early[peer]!.delete(key);
    this.#earlyFrames -= early.length;
    for (const { header, data } of early) this.#deliver(peer, key, slot, header, [data]);
    return slot;
  }

  /** Resolves when a slot is full. */
  async filled(slot: Slot): Promise<void> {
    await slot.atLeast(slot.totalBytes);
  }

  /** Sends small data, copied, with the announcement. */
  sendEager(peer: number, step: number, text: string, data: Uint8Array): void {
    this.#send(peer, step, text, data, 0, data.length);
  }

  /**
   * Sends bulk data in chunks, each once it is there.
   * @param source the transfer that brings the data, if any
   * @param prepare what to do with a chunk before it is sent
   */
  async sendBulk(
    peer: number,
    step: number,
    data: Uint8Array,
    source: Slot | null = null,
    prepare: ((from: number, to: number) => void) | null = null,
  ): Promise<void> {
    const link = this.link(peer);
    for (let offset = 0; offset < data.length; offset += this.chunkBytes) {
      const end = Math.min(offset + this.chunkBytes, data.length);
      if (source !== null) await source.atLeast(end);
      prepare?.(offset, end);
      await link.writable();
      this.#send(peer, step, '', data.subarray(offset, end), offset, data.length);
    }
  }

  #send(peer: number, step: number, text: string, data: Uint8Array | null, offset: number, total: number): void {
    if (this.error !== null) throw this.error;
    this.link(peer).send({
      kind: FrameKind.collective,
      group: this.hash,
      call: this.#calls,
      step,
      offset,
      total,
      text,
      data,
    });
  }

  onFrame(global: number, header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void {
    const peer = this.#groupRankOf.get(global);
    if (peer === undefined) throw new TensorloomError('BAD_DATA', `A frame of a group in which it is not.`);
    if (this.error !== null) return;
    this.#lastProgressMs = performance.now();
    if (header.kind === FrameKind.pointToPoint) return this.#pointToPoint.onFrame(peer, header, text, pieces);
    const { call, step } = header;
    if (call < this.#calls || call > this.#calls + MAX_CALLS_AHEAD)
      throw new TensorloomError('BAD_DATA', `A frame of call ${call} came during call ${this.#calls}.`);
    if (text !== '') {
      const announcement = { text, total: step === ANNOUNCEMENT ? header.total : 0 };
      this.#announced[peer]!.set(call, announcement);
      if (call === this.#calls && this.#call !== null) {
        if (!this.#compare(peer, announcement)) return;
        const wake = this.#comers.get(peer);
        this.#comers.delete(peer);
        wake?.();
      }
    }
    if (step === ANNOUNCEMENT) return;
    const key = keyOf(call, step);
    const slot = this.#slots[peer]!.get(key);
    if (slot !== undefined) this.#deliver(peer, key, slot, header, pieces);
    else if (
      header.dataBytes <= EAGER_BYTES &&
      header.dataBytes === header.total &&
      this.#earlyFrames < MAX_EARLY_FRAMES * this.worldSize
    ) {
      this.#earlyFrames++;
      const early = { header, data: Buffer.concat(pieces) };
      this.#early[peer]!.set(key, [...(this.#early[peer]!.get(key) ?? []), early]);
    } else throw new TensorloomError('BAD_DATA', `Data of call ${call}, step ${step} came that nobody waits for.`);
  }

  #deliver(peer: number, key: string, slot: Slot, header: FrameHeader, pieces: readonly Uint8Array[]): void {
    if (header.total !== slot.totalBytes || header.offset !== slot.receivedBytes)
      throw new TensorloomError(
        'BAD_DATA',
        `Bytes ${header.offset} to ${header.offset + header.dataBytes} of ${header.total} came, expected were those from ${slot.receivedBytes} of ${slot.totalBytes}.`,
      );
    for (const piece of pieces) slot.accept(piece);
    if (slot.isComplete) this.#slots[peer]!.delete(key);
    slot.wake();
  }

  /** Whether a rank makes the call that this one makes; else everything fails. */
  #compare(peer: number, given: Announcement): boolean {
    const expected = this.#expected(peer);
    if (given.text === expected.text && given.total === expected.total) return true;
    const isSame = given.text === expected.text;
    this.fail(
      mismatch(
        new Map([
          [this.rank, isSame ? `${expected.text} with ${expected.total} bytes from rank ${peer}` : expected.text],
          [peer, isSame ? `${given.text} with ${given.total} bytes to rank ${this.rank}` : given.text],
        ]),
      ),
    );
    return false;
  }

  onLeft(global: number): void {
    const peer = this.#groupRankOf.get(global);
    if (peer === undefined || this.#call === null) return;
    if (this.#comers.has(peer) || this.#slots[peer]!.size > 0 || this.#pointToPoint.waitsFor(peer))
      this.fail(this.left(peer));
  }

  left(peer: number): TensorloomError {
    return lost(
      this.globalRanks[peer]!,
      `closed its process group, and rank ${this.globalRanks[this.rank]!} waits for it in ${this.doing}`,
    );
  }

  onTick(now: number): void {
    const { collectiveTimeoutMs } = this.#mesh.request;
    if (this.#call === null || this.#isAsking || now - this.#lastProgressMs < collectiveTimeoutMs) return;
    void this.#askWhoIsMissing();
  }

  /** Nothing has moved for too long: finds out who has not come, and fails. */
  async #askWhoIsMissing(): Promise<void> {
    this.#isAsking = true;
    const call = this.#call!;
    const calls = this.#calls;
    this.#answers = new Map();
    const id = ++this.#question;
    const isPointToPoint = call.kind === 'send' || call.kind === 'receive';
    for (const peer of this.peers())
      if (!this.link(peer).hasLeft) this.#mesh.tell(this.globalRanks[peer]!, { type: 'where', group: this.hash, id });
    const deadline = performance.now() + Math.min(1000, this.#mesh.request.rankTimeoutMs);
    while (this.#answers.size < this.worldSize - 1 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5));
    this.#isAsking = false;
    if (this.#call !== call) return;
    const absent = isPointToPoint
      ? [call.peer]
      : [...this.peers()].filter((peer) => (this.#answers.get(peer)?.calls ?? 0) < calls);
    const names = absent.map((peer) => this.globalRanks[peer]!).sort((a, b) => a - b);
    const who =
      names.length === 0
        ? 'all ranks have come, but nothing moves'
        : `rank${names.length > 1 ? 's' : ''} ${names.join(', ')} did not come`;
    const seconds = this.#mesh.request.collectiveTimeoutMs / 1000;
    this.fail(
      new TensorloomError('TIMEOUT', `After ${seconds} s of waiting in ${describeCall(call)} (${this.#id}): ${who}.`),
    );
  }

  onControl(global: number, message: ControlMessage): void {
    const peer = this.#groupRankOf.get(global);
    if (peer === undefined) return;
    const { hash: group, doing } = this;
    if (message.type === 'where')
      this.#mesh.tell(global, { type: 'here', group, id: message.id, calls: this.#calls, doing });
    else if (message.type === 'here' && message.id === this.#question)
      this.#answers.set(peer, { calls: message.calls, doing: message.doing });
  }
}

function keyOf(call: number, step: number): string {
  return `${call}/${step}`;
}
