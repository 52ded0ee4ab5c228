/** Where things lie in the memory that the ranks of one group share. All offsets are in bytes. */

/** Cache lines of their own for words that different ranks write. */
const LINE = 64;
const DESCRIPTOR_BYTES = 1024;
const ABORT_TEXT_BYTES = 2048;
/** Three slots a rank: one being written, one being reduced, one being read. */
export const SLOTS = 3;

/** Sizes of a segment; equal on all ranks. */
export interface SegmentSizes {
  readonly worldSize: number;
  readonly slotBytes: number;
  readonly mailBytes: number;
}

export class SegmentLayout {
  readonly worldSize: number;
  readonly slotBytes: number;
  readonly mailBytes: number;
  /** Of the header: magic, sizes, what the medium adds. */
  readonly header = 0;
  /** Set (2) once aborted; then by whom, code, length of the text. */
  readonly abort = 4 * LINE;
  readonly abortText = 5 * LINE;
  readonly abortTextBytes = ABORT_TEXT_BYTES;
  readonly descriptorBytes = DESCRIPTOR_BYTES;
  readonly totalBytes: number;
  readonly #ranks: number;
  readonly #mailWords: number;
  readonly #descriptors: number;
  readonly #counts: number;
  readonly #slots: number;
  readonly #mail: number;

  constructor({ worldSize, slotBytes, mailBytes }: SegmentSizes) {
    this.worldSize = worldSize;
    this.slotBytes = slotBytes;
    this.mailBytes = mailBytes;
    this.#ranks = this.abortText + ABORT_TEXT_BYTES;
    this.#mailWords = this.#ranks + worldSize * 4 * LINE;
    this.#descriptors = this.#mailWords + worldSize * worldSize * 2 * LINE;
    this.#counts = this.#descriptors + worldSize * 2 * DESCRIPTOR_BYTES;
    this.#slots = align(this.#counts + worldSize * 2 * worldSize * 8 * 2, 4096);
    this.#mail = this.#slots + worldSize * SLOTS * slotBytes;
    this.totalBytes = align(this.#mail + worldSize * worldSize * mailBytes, 4096);
  }

  /** How many meetings the rank has come to. */
  arrivals(rank: number): number {
    return this.#ranks + rank * 4 * LINE;
  }

  /** Changes whenever a letter for this rank was written, or one of its own was read. */
  bell(rank: number): number {
    return this.#ranks + (rank * 4 + 1) * LINE;
  }

  /** 0 on the way, 1 there, 2 left in good order. */
  presence(rank: number): number {
    return this.#ranks + (rank * 4 + 2) * LINE;
  }

  /** How often the rank has said that it is coming, for waits that do not block. */
  announced(rank: number): number {
    return this.presence(rank) + 4;
  }

  /** For the medium's signs of life: 16 words. */
  life(rank: number): number {
    return this.#ranks + (rank * 4 + 3) * LINE;
  }

  /** Bytes ever written into the mailbox of a pair, modulo 2**32. */
  mailWritten(from: number, to: number): number {
    return this.#mailWords + (from * this.worldSize + to) * 2 * LINE;
  }

  mailRead(from: number, to: number): number {
    return this.mailWritten(from, to) + LINE;
  }

  mail(from: number, to: number): number {
    return this.#mail + (from * this.worldSize + to) * this.mailBytes;
  }

  /** Length (int32), then text. */
  descriptor(rank: number, parity: number): number {
    return this.#descriptors + (rank * 2 + parity) * DESCRIPTOR_BYTES;
  }

  /** Of all-to-all: float64, to each rank, then from each rank. */
  counts(rank: number, parity: number): number {
    return this.#counts + (rank * 2 + parity) * 2 * this.worldSize * 8;
  }

  slot(rank: number, turn: number): number {
    return this.#slots + (rank * SLOTS + (turn % SLOTS)) * this.slotBytes;
  }
}

/** Sizes for `worldSize` ranks: slots that stay in the cache, mailboxes that stay small in sum. */
export function segmentSizes(worldSize: number, slotBytes = 512 * 1024): SegmentSizes {
  const mailBytes = Math.min(
    256 * 1024,
    Math.max(4096, 2 ** Math.floor(Math.log2((8 * 1024 * 1024) / worldSize ** 2))),
  );
  return { worldSize, slotBytes, mailBytes };
}

function align(bytes: number, to: number): number {
  return Math.ceil(bytes / to) * to;
}
