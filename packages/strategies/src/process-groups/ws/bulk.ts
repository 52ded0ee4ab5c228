/** Frames of bulk data on their way: their bytes go to their place as they arrive, before the frame is whole. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { EAGER_BYTES, FrameKind, type FrameHeader } from './frames.ts';

/** Where the data of a frame go. */
export interface BulkSink {
  /** Takes the next bytes; they are the caller's again afterwards. */
  accept(bytes: Uint8Array): void;
  /** Memory that the next `bytes` bytes may be read into in place of `accept`; null where they have to be worked on. */
  room(bytes: number): Uint8Array | null;
  /** Where bytes for `accept` are best read to, among others; null if anywhere does. */
  readonly readBuffer: Uint8Array | null;
  /** So many bytes have been read into `room`. */
  filled(bytes: number): void;
  /** The frame is whole. */
  end(): void;
}

/** For data that nobody wants any more. */
export const NOWHERE: BulkSink = {
  accept: () => {},
  room: () => null,
  readBuffer: null,
  filled: () => {},
  end: () => {},
};

/** Whether a frame's data go to their place piece by piece. */
export function isBulk({ kind, textBytes, dataBytes }: FrameHeader): boolean {
  return (
    (kind === FrameKind.collective || kind === FrameKind.pointToPoint) && textBytes === 0 && dataBytes > EAGER_BYTES
  );
}

/** Passes on data only while somebody wants them. A class, as all that is made for each frame: closures cost more. */
export class WantedSink implements BulkSink {
  readonly readBuffer: Uint8Array | null;
  readonly #sink: BulkSink;
  readonly #isWanted: () => boolean;

  constructor(sink: BulkSink, isWanted: () => boolean) {
    this.#sink = sink;
    this.#isWanted = isWanted;
    this.readBuffer = sink.readBuffer;
  }

  accept(bytes: Uint8Array): void {
    if (this.#isWanted()) this.#sink.accept(bytes);
  }

  room(bytes: number): Uint8Array | null {
    return this.#isWanted() ? this.#sink.room(bytes) : null;
  }

  filled(bytes: number): void {
    if (this.#isWanted()) this.#sink.filled(bytes);
  }

  end(): void {
    if (this.#isWanted()) this.#sink.end();
  }
}

/** One such frame. After a cut it comes again from its beginning, and goes on where it was. */
export class BulkFrame implements BulkSink {
  readonly header: FrameHeader;
  readonly readBuffer: Uint8Array | null;
  readonly #sink: BulkSink;
  readonly #onEnd: () => void;
  #doneBytes = 0;
  /** Bytes still to come that are in place already. */
  #knownBytes = 0;

  /** @param onEnd called before the sink's `end` */
  constructor(header: FrameHeader, sink: BulkSink, onEnd: () => void) {
    this.header = header;
    this.#sink = sink;
    this.readBuffer = sink.readBuffer;
    this.#onEnd = onEnd;
  }

  /**
   * It comes again.
   * @throws TensorloomError `BAD_DATA` if it is another one
   */
  again(header: FrameHeader): void {
    for (const field of ['kind', 'group', 'sequence', 'call', 'step', 'dataBytes', 'offset', 'total'] as const)
      if (header[field] !== this.header[field])
        throw new TensorloomError(
          'BAD_DATA',
          `Frame ${this.header.sequence} came again as another one: ${field} ${header[field]}, before ${this.header[field]}.`,
        );
    this.#knownBytes = this.#doneBytes;
  }

  accept(bytes: Uint8Array): void {
    const known = Math.min(this.#knownBytes, bytes.length);
    this.#knownBytes -= known;
    if (known === bytes.length) return;
    this.#doneBytes += bytes.length - known;
    this.#sink.accept(known === 0 ? bytes : bytes.subarray(known));
  }

  room(bytes: number): Uint8Array | null {
    return this.#knownBytes > 0 ? null : this.#sink.room(bytes);
  }

  filled(bytes: number): void {
    this.#doneBytes += bytes;
    this.#sink.filled(bytes);
  }

  end(): void {
    this.#onEnd();
    this.#sink.end();
  }
}
