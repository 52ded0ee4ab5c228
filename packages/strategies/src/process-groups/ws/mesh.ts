/** This rank's links to all others: watches over them, mends them, and tells everyone what went wrong. */
import { TensorloomError } from '@tensorloom/core/distributed';
import type { TransportRequest } from '../transport.ts';
import { failureCode, packControl, unpackControl, MAX_CONTROL_BYTES, type ControlMessage } from './control.ts';
import { NOWHERE, type BulkSink } from './bulk.ts';
import { FrameKind, type FrameHeader } from './frames.ts';
import { Link } from './link.ts';

/** A group of ranks that this mesh carries frames for. */
export interface MeshMember {
  readonly hash: number;
  onFrame(peer: number, header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void;
  /** Where the data of such a frame go. */
  onBulk(peer: number, header: FrameHeader): BulkSink;
  onControl(peer: number, message: ControlMessage): void;
  onFailure(error: TensorloomError): void;
  /** The peer left in good order. */
  onLeft(peer: number): void;
  onTick(now: number): void;
  /** What it is doing, for messages. */
  readonly doing: string;
}

export class Mesh {
  readonly request: TransportRequest;
  readonly links = new Map<number, Link>();
  readonly heartbeatMs: number;
  readonly chunkBytes: number;
  error: TensorloomError | null = null;
  isClosed = false;
  /** Tries to reconnect; set by whoever makes connections. */
  mend: (link: Link) => void = () => {};
  onAddresses: (addresses: readonly { readonly host: string; readonly port: number }[]) => void = () => {};
  readonly #members = new Map<number, MeshMember>();
  /** Groups that were closed here; others may still send. */
  readonly #closed = new Set<number>();
  /** Failures of groups that are not here yet. */
  readonly #early = new Map<number, TensorloomError>();
  readonly #timer: NodeJS.Timeout;
  #isClosing = false;
  #lastTickMs = performance.now();

  constructor(request: TransportRequest, heartbeatMs: number, chunkBytes: number) {
    this.request = request;
    this.heartbeatMs = heartbeatMs;
    this.chunkBytes = chunkBytes;
    for (let peer = 0; peer < request.worldSize; peer++)
      if (peer !== request.rank)
        this.links.set(
          peer,
          new Link(peer, {
            onFrame: (header, text, pieces) => this.#onFrame(peer, header, text, pieces),
            onBulk: (header) => this.#member(header)?.onBulk(peer, header) ?? NOWHERE,
            onFault: (error) => this.fail(error),
            onCut: () => this.#onCut(peer),
          }),
        );
    this.#timer = setInterval(() => this.#tick(), Math.max(10, Math.min(heartbeatMs, request.collectiveTimeoutMs / 4)));
  }

  link(peer: number): Link {
    return this.links.get(peer)!;
  }

  /** @throws TensorloomError `MISUSE` if two groups have the same hash */
  register(member: MeshMember): void {
    if (this.#members.has(member.hash))
      throw new TensorloomError('MISUSE', 'A process group with this id exists already; each has an id of its own.');
    this.#members.set(member.hash, member);
    this.#closed.delete(member.hash);
    const error = this.error ?? this.#early.get(member.hash);
    if (error !== undefined) member.onFailure(error);
  }

  unregister(member: MeshMember): void {
    this.#members.delete(member.hash);
    this.#closed.add(member.hash);
  }

  tell(peer: number, message: ControlMessage): void {
    const data = packControl(message);
    this.link(peer).send({
      kind: FrameKind.control,
      group: 0,
      call: 0,
      step: 0,
      offset: 0,
      total: data.length,
      text: '',
      data,
    });
  }

  /** Ends everything on this rank, and on those it reaches. */
  fail(error: TensorloomError, spread = true): void {
    if (this.error !== null || this.isClosed) return;
    this.error = error;
    if (spread)
      for (const { peer, hasLeft } of this.links.values())
        if (!hasLeft)
          this.tell(peer, { type: 'failure', group: null, code: failureCode(error.code), message: error.message });
    for (const member of [...this.#members.values()]) member.onFailure(error);
  }

  /** A rank cannot be reached any more. Who is closing has nothing to ask of it: it may have closed as well, its goodbye lost with the connection. */
  lose(link: Link, how: string): void {
    if (this.#isClosing) link.hasLeft = true;
    else this.fail(lost(link.peer, `${how}${this.during}`));
  }

  /** Says goodbye once everything has arrived. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    // Those that never came cannot be waited for.
    const links = [...this.links.values()].filter(({ peerInstance }) => peerInstance !== null);
    if (this.error === null) {
      this.#isClosing = true;
      for (const { peer } of links) this.tell(peer, { type: 'goodbye' });
      const isDone = (): boolean => this.error !== null || links.every((link) => link.isFlushed || link.hasLeft);
      await this.#until(isDone, this.request.rankTimeoutMs);
    } else await this.#until(() => links.every((link) => link.isFlushed || !link.isConnected), 1000);
    this.isClosed = true;
    clearInterval(this.#timer);
    for (const link of links) link.detach();
    const error = new TensorloomError('ABORTED', 'This process group is closed.');
    for (const member of [...this.#members.values()]) member.onFailure(error);
  }

  /** During which call something happened, for messages. */
  get during(): string {
    const calls = [...this.#members.values()].map(({ doing }) => doing).filter((doing) => doing !== '');
    return calls.length === 0 ? '' : ` during ${calls.join(', ')}`;
  }

  async #until(isDone: () => boolean, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (let pauseMs = 1; !isDone() && performance.now() < deadline; pauseMs = Math.min(2 * pauseMs, 50)) {
      for (const link of this.links.values()) link.askForAcknowledgement();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  #onCut(peer: number): void {
    if (!this.isClosed && this.error === null) this.mend(this.link(peer));
  }

  #tick(): void {
    const now = performance.now();
    const lateMs = now - this.#lastTickMs;
    this.#lastTickMs = now;
    // This process itself was stopped: the others' signs of life may still wait to be read.
    const wasStopped = lateMs > this.request.rankTimeoutMs / 2;
    for (const link of this.links.values()) {
      if (wasStopped) link.lastHeardMs = now;
      link.tick(now);
      if (this.error !== null || link.hasLeft || link.peerInstance === null) continue;
      if (now - link.lastHeardMs > this.request.rankTimeoutMs) {
        const how = link.isConnected ? 'gave no sign of life' : 'could not be reached';
        this.lose(link, `${how} for ${this.request.rankTimeoutMs / 1000} s`);
      }
    }
    for (const member of [...this.#members.values()]) member.onTick(now);
  }

  #onFrame(peer: number, header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void {
    if (header.kind === FrameKind.control) this.#onControl(peer, header, pieces);
    else this.#member(header)?.onFrame(peer, header, text, pieces);
  }

  /** Undefined for a group that is closed, or failed before it was here. */
  #member({ group }: FrameHeader): MeshMember | undefined {
    const member = this.#members.get(group);
    if (member === undefined && !this.#closed.has(group) && !this.#early.has(group))
      throw new TensorloomError('BAD_DATA', 'A frame of a group that does not exist.');
    return member;
  }

  #onControl(peer: number, header: FrameHeader, pieces: readonly Uint8Array[]): void {
    if (header.total > MAX_CONTROL_BYTES || header.total !== header.dataBytes)
      throw new TensorloomError('BAD_DATA', `A message of ${header.total} bytes, ${header.dataBytes} of them here.`);
    const message = unpackControl(Buffer.concat(pieces));
    if (message.type === 'failure') {
      const error = new TensorloomError(message.code, message.message);
      if (message.group === null) this.fail(error, false);
      else if (this.#members.has(message.group)) this.#members.get(message.group)!.onFailure(error);
      else if (this.#early.size < 1024) this.#early.set(message.group, error);
    } else if (message.type === 'goodbye') {
      this.link(peer).hasLeft = true;
      // It waits for this before it goes.
      this.link(peer).acknowledge();
      for (const member of [...this.#members.values()]) member.onLeft(peer);
    } else if (message.type === 'addresses') this.onAddresses(message.addresses);
    else {
      const member = this.#members.get(message.group);
      if (member !== undefined) member.onControl(peer, message);
      else if (message.type === 'where')
        this.tell(peer, { type: 'here', group: message.group, id: message.id, calls: 0 });
    }
  }
}

export function lost(rank: number, how: string): TensorloomError {
  return new TensorloomError('RANK_LOST', `Rank ${rank} is lost: it ${how}.`);
}
