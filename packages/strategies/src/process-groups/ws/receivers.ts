/** Hands the frames of one group to what waits for them, and notes that something moves. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { NOWHERE, WantedSink, type BulkSink } from './bulk.ts';
import { FrameKind, type FrameHeader } from './frames.ts';
import type { Inbox } from './inbox.ts';
import type { PointToPoint } from './point-to-point.ts';

export class Receivers {
  lastProgressMs = 0;
  readonly #globalRanks: readonly number[];
  readonly #inbox: Inbox;
  readonly #pointToPoint: PointToPoint;
  readonly #hasFailed: () => boolean;
  readonly #isWantedStill = () => this.#isWanted();

  constructor(globalRanks: readonly number[], inbox: Inbox, pointToPoint: PointToPoint, hasFailed: () => boolean) {
    this.#globalRanks = globalRanks;
    this.#inbox = inbox;
    this.#pointToPoint = pointToPoint;
    this.#hasFailed = hasFailed;
  }

  onFrame(global: number, header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void {
    const peer = this.#memberOf(global);
    if (this.#isWanted()) this.#receiverOf(header).onFrame(peer, header, text, pieces);
  }

  onBulk(global: number, header: FrameHeader): BulkSink {
    const peer = this.#memberOf(global);
    if (!this.#isWanted()) return NOWHERE;
    return new WantedSink(this.#receiverOf(header).bulk(peer, header), this.#isWantedStill);
  }

  #receiverOf({ kind }: FrameHeader): PointToPoint | Inbox {
    return kind === FrameKind.pointToPoint ? this.#pointToPoint : this.#inbox;
  }

  #memberOf(global: number): number {
    const peer = this.#globalRanks.indexOf(global);
    if (peer < 0) throw new TensorloomError('BAD_DATA', `A frame of a group in which it is not.`);
    return peer;
  }

  /** Something came: whether it is of use. Nothing is, after a failure. */
  #isWanted(): boolean {
    this.lastProgressMs = performance.now();
    return !this.#hasFailed();
  }
}
