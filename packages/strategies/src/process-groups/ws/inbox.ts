/** What arrives for the collectives of one group: announcements of calls, and data for the slots that wait for them. */
import { TensorloomError, type CollectiveArray, type ElementType, type ReduceOp } from '@tensorloom/core/distributed';
import { mismatch } from '../collective-call.ts';
import type { BulkSink } from './bulk.ts';
import { ANNOUNCEMENT, EAGER_BYTES, type FrameHeader } from './frames.ts';
import { Slot } from './slot.ts';

/** Ranks cannot be further ahead than this many calls, since each call waits for others. */
const MAX_CALLS_AHEAD = 64;
/** Small data that may come before the call they belong to, from one rank. */
const MAX_EARLY_FRAMES = 256;

/** A rank has come to a call. */
export interface Announcement {
  readonly text: string;
  /** Bytes that it will send to this rank, where that is not in the text. */
  readonly total: number;
}

interface EarlyFrame {
  readonly header: FrameHeader;
  readonly data: Uint8Array;
}

/** Peers are ranks in the group. */
export class Inbox {
  /** Number of the call under way, or of the last. */
  call = 0;
  /** By rank, of each call. */
  readonly #announced: Map<number, Announcement>[];
  readonly #slots: Map<string, Slot>[];
  readonly #early: Map<string, EarlyFrame[]>[];
  readonly #earlyFrames: number[];
  readonly #comers = new Map<number, () => void>();
  #expected: ((peer: number) => Announcement) | null = null;
  readonly #names: readonly number[];
  readonly #self: number;
  readonly #onMismatch: (error: TensorloomError) => void;

  /**
   * @param rank this rank in the group
   * @param names of the members, by rank in the group: their ranks in the world
   * @param onMismatch a rank announced another call than this one makes
   */
  constructor(rank: number, names: readonly number[], onMismatch: (error: TensorloomError) => void) {
    this.#names = names;
    this.#self = names[rank]!;
    this.#onMismatch = onMismatch;
    const ranks = [...names.keys()];
    this.#announced = ranks.map(() => new Map<number, Announcement>());
    this.#slots = ranks.map(() => new Map<string, Slot>());
    this.#early = ranks.map(() => new Map<string, EarlyFrame[]>());
    this.#earlyFrames = ranks.map(() => 0);
  }

  /** @param expected what each rank must announce */
  begin(expected: (peer: number) => Announcement): void {
    this.call++;
    this.#expected = expected;
    for (const [peer, announced] of this.#announced.entries()) {
      const given = announced.get(this.call);
      if (given !== undefined) this.#compare(peer, given);
    }
  }

  end(): void {
    this.#expected = null;
    for (const announced of this.#announced) announced.delete(this.call);
  }

  /** Whether the call under way cannot end without a rank. */
  waitsFor(peer: number): boolean {
    return this.#comers.has(peer) || this.#slots[peer]!.size > 0;
  }

  hasCome(peer: number): boolean {
    return this.#announced[peer]!.has(this.call);
  }

  /** Resolves when a rank announces this call. */
  comes(peer: number): Promise<void> {
    return new Promise((resolve) => this.#comers.set(peer, resolve));
  }

  expect(peer: number, step: number, target: CollectiveArray, type: ElementType, reduction: ReduceOp | null): Slot {
    const slot = new Slot(target, reduction, type);
    if (slot.totalBytes === 0) return slot;
    const key = keyOf(this.call, step);
    this.#slots[peer]!.set(key, slot);
    const early = this.#early[peer]!.get(key) ?? [];
    this.#early[peer]!.delete(key);
    this.#earlyFrames[peer]! -= early.length;
    for (const { header, data } of early) this.#deliver(peer, key, slot, header, [data]);
    return slot;
  }

  /** @throws TensorloomError `BAD_DATA` for what no sound rank sends */
  onFrame(peer: number, header: FrameHeader, text: string, pieces: readonly Uint8Array[]): void {
    const { call, step } = header;
    this.#checkCall(call);
    if (text !== '') {
      const announcement = { text, total: step === ANNOUNCEMENT ? header.total : 0 };
      this.#announced[peer]!.set(call, announcement);
      if (call === this.call && this.#expected !== null) {
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
    else this.#keep(peer, key, header, pieces);
  }

  /**
   * Where bulk data go.
   * @throws TensorloomError `BAD_DATA` for what no sound rank sends
   */
  bulk(peer: number, header: FrameHeader): BulkSink {
    this.#checkCall(header.call);
    const key = keyOf(header.call, header.step);
    const slot = this.#slots[peer]!.get(key);
    if (slot === undefined) throw unexpected(header);
    return slot.sinkFor(header, () => this.#settle(peer, key, slot));
  }

  #checkCall(call: number): void {
    if (call < this.call || call > this.call + MAX_CALLS_AHEAD)
      throw new TensorloomError('BAD_DATA', `A frame of call ${call} came during call ${this.call}.`);
  }

  /** Small data of a call that this rank has not come to. Large data come only once they were asked for. */
  #keep(peer: number, key: string, header: FrameHeader, pieces: readonly Uint8Array[]): void {
    const isSmall = header.dataBytes <= EAGER_BYTES && header.dataBytes === header.total;
    if (!isSmall || this.#earlyFrames[peer]! >= MAX_EARLY_FRAMES) throw unexpected(header);
    this.#earlyFrames[peer]!++;
    const early = { header, data: Buffer.concat(pieces) };
    this.#early[peer]!.set(key, [...(this.#early[peer]!.get(key) ?? []), early]);
  }

  #deliver(peer: number, key: string, slot: Slot, header: FrameHeader, pieces: readonly Uint8Array[]): void {
    slot.check(header);
    for (const piece of pieces) slot.accept(piece);
    this.#settle(peer, key, slot);
  }

  /** A frame is in. */
  #settle(peer: number, key: string, slot: Slot): void {
    if (slot.isComplete) this.#slots[peer]!.delete(key);
    slot.wake();
  }

  #compare(peer: number, given: Announcement): boolean {
    const expected = this.#expected!(peer);
    if (given.text === expected.text && given.total === expected.total) return true;
    const they = this.#names[peer]!;
    const isSame = given.text === expected.text;
    const own = isSame ? `${expected.text} with ${expected.total} bytes from rank ${they}` : expected.text;
    const other = isSame ? `${given.text} with ${given.total} bytes to rank ${this.#self}` : given.text;
    const calls = [
      [this.#self, own],
      [they, other],
    ] as const;
    this.#onMismatch(mismatch(new Map(calls)));
    return false;
  }
}

function unexpected({ call, step }: FrameHeader): TensorloomError {
  return new TensorloomError('BAD_DATA', `Data of call ${call}, step ${step} came that nobody waits for.`);
}

function keyOf(call: number, step: number): string {
  return `${call}/${step}`;
}
