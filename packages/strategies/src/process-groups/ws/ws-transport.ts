/** Carries out the collectives of one group of ranks over a mesh of WebSockets. */
import { createHash } from 'node:crypto';
import { TensorloomError, type CollectiveArray, type ReduceOp } from '@tensorloom/core/distributed';
import { describeCall, type CollectiveCall } from '../collective-call.ts';
import type { Transport } from '../transport.ts';
import type { BulkSink } from './bulk.ts';
import { runCollective } from './collectives.ts';
import { failureCode, type ControlMessage } from './control.ts';
import { ANNOUNCEMENT, FrameKind, type FrameHeader } from './frames.ts';
import { Inbox } from './inbox.ts';
import type { Link } from './link.ts';
import { lost, type Mesh, type MeshMember } from './mesh.ts';
import { Patience } from './patience.ts';
import { PointToPoint } from './point-to-point.ts';
import { Receivers } from './receivers.ts';
import type { Slot } from './slot.ts';

export class WsTransport implements Transport, MeshMember {
  readonly name = 'ws';
  readonly rank: number;
  readonly worldSize: number;
  readonly hash: number;
  readonly globalRanks: readonly number[];
  readonly chunkBytes: number;
  readonly id: string;
  readonly patience: Patience;
  /** Under way. */
  call: CollectiveCall | null = null;
  error: TensorloomError | null = null;
  /** Called when the group has failed: for others that its ranks form. */
  onFailed: (error: TensorloomError) => void = () => {};
  readonly #mesh: Mesh;
  readonly #parent: WsTransport | null;
  readonly #onClose: () => void;
  readonly #pointToPoint: PointToPoint;
  readonly #inbox: Inbox;
  readonly #receivers: Receivers;
  readonly #children: WsTransport[] = [];
  #reject: (error: TensorloomError) => void = () => {};

  /** @param onClose after the whole mesh is closed; of the world's transport only */
  constructor(
    mesh: Mesh,
    globalRanks: readonly number[],
    id: string,
    parent: WsTransport | null,
    onClose: () => void = () => {},
  ) {
    this.#mesh = mesh;
    this.id = id;
    this.#parent = parent;
    this.#onClose = onClose;
    this.globalRanks = globalRanks;
    this.chunkBytes = mesh.chunkBytes;
    this.worldSize = globalRanks.length;
    this.rank = globalRanks.indexOf(mesh.request.rank);
    this.hash = createHash('sha256').update(id).digest().readUInt32LE(0);
    this.#pointToPoint = new PointToPoint(this);
    this.#inbox = new Inbox(this.rank, globalRanks, (error) => this.fail(error));
    this.#receivers = new Receivers(globalRanks, this.#inbox, this.#pointToPoint, () => this.error !== null);
    const { collectiveTimeoutMs } = mesh.request;
    this.patience = new Patience(this, this.#inbox, collectiveTimeoutMs, (peer, message) => this.#tell(peer, message));
    mesh.register(this);
  }

  get doing(): string {
    return this.call === null ? '' : describeCall(this.call);
  }

  async execute(call: CollectiveCall): Promise<void> {
    this.#throwFailure();
    this.call = call;
    this.#receivers.lastProgressMs = performance.now();
    const failed = new Promise<never>((_, reject) => (this.#reject = reject));
    failed.catch(() => {});
    try {
      // A call that failed is left where it waits: nothing wakes it any more, and it sends nothing.
      await Promise.race([this.#run(call), failed]);
    } catch (error) {
      this.#throwFailure();
      this.fail(error as TensorloomError);
      throw error;
    } finally {
      this.call = null;
      this.#reject = () => {};
    }
    this.#throwFailure();
  }

  /** Counts a call that others carry out for this group, so that its `patience` knows who has come to it. All ranks do. */
  countCall(): void {
    this.#throwFailure();
    this.#inbox.call++;
  }

  #throwFailure(): void {
    if (this.error !== null) throw this.error;
  }

  async #run(call: CollectiveCall): Promise<void> {
    if (call.kind === 'send' || call.kind === 'receive') return this.#pointToPoint.run(call);
    const text = describeCall(call);
    const size = call.input === null ? 1 : call.input.BYTES_PER_ELEMENT;
    const isAllToAll = call.kind === 'all-to-all';
    this.#inbox.begin((peer) => ({ text, total: isAllToAll ? call.receiveCounts[peer]! * size : 0 }));
    await runCollective(this, call, text);
    this.#inbox.end();
  }

  async split(ranks: readonly number[], id: string): Promise<WsTransport | null> {
    const name = `split of ranks ${ranks.join(', ')} as ${id}`;
    const members = ranks.map((rank) => this.globalRanks[rank]!);
    // Before the barrier: whoever has passed it may send to the new group.
    const child = ranks.includes(this.rank) ? new WsTransport(this.#mesh, members, id, this) : null;
    if (child !== null) this.#children.push(child);
    const none = { input: null, output: null, elementType: 'uint8', op: null, peer: -1, tag: 0 } as const;
    await this.execute({ ...none, kind: 'barrier', counts: [], receiveCounts: [], name });
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
    const message = error.message.slice(0, 8000);
    for (const peer of this.peers())
      this.#tell(peer, { type: 'failure', group: this.hash, code: failureCode(error.code), message });
    this.onFailure(error);
  }

  onFailure(error: TensorloomError): void {
    if (this.error !== null) return;
    this.error = error;
    this.#reject(error);
    for (const child of this.#children) child.onFailure(error);
    this.onFailed(error);
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
  async comes(peer: number): Promise<void> {
    if (this.#inbox.hasCome(peer)) return;
    if (this.link(peer).hasLeft) throw this.left(peer);
    await this.#inbox.comes(peer);
  }

  /** Where a transfer goes. */
  expect(peer: number, step: number, target: CollectiveArray, reduction: ReduceOp | null = null): Slot {
    return this.#inbox.expect(peer, step, target, this.call!.elementType, reduction);
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

  /** Why a call cannot go on without a rank that said goodbye. */
  left(peer: number): TensorloomError {
    const own = this.globalRanks[this.rank]!;
    return lost(this.globalRanks[peer]!, `closed its process group, and rank ${own} waits for it in ${this.doing}`);
  }

  #send(peer: number, step: number, text: string, data: Uint8Array | null, offset: number, total: number): void {
    this.#throwFailure();
    const { call } = this.#inbox;
    this.link(peer).send({ kind: FrameKind.collective, group: this.hash, call, step, offset, total, text, data });
  }

  #tell(peer: number, message: ControlMessage): boolean {
    const { hasLeft } = this.link(peer);
    if (!hasLeft) this.#mesh.tell(this.globalRanks[peer]!, message);
    return !hasLeft;
  }

  onFrame(global: number, header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void {
    this.#receivers.onFrame(global, header, text, pieces);
  }

  onBulk(global: number, header: FrameHeader): BulkSink {
    return this.#receivers.onBulk(global, header);
  }

  onControl(global: number, message: ControlMessage): void {
    const peer = this.globalRanks.indexOf(global);
    if (peer >= 0) this.patience.onControl(peer, message);
  }

  onLeft(global: number): void {
    const peer = this.globalRanks.indexOf(global);
    if (peer < 0 || this.call === null) return;
    if (this.#inbox.waitsFor(peer) || this.#pointToPoint.waitsFor(peer)) this.fail(this.left(peer));
  }

  onTick(now: number): void {
    if (this.call !== null) this.patience.look(now, this.call, this.#receivers);
  }
}
