/** What has arrived over a link: frames in the order of their numbers, the last one perhaps in part. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { BulkFrame, NOWHERE, type BulkSink } from './bulk.ts';
import { HEADER_BYTES, type FrameHeader } from './frames.ts';

/** Acknowledge after so many bytes or frames. */
const ACKNOWLEDGE_BYTES = 2 * 1024 * 1024;
const ACKNOWLEDGE_FRAMES = 32;

export class Arrivals {
  /** Number of the last frame that arrived. */
  received = 0;
  /** Since the last acknowledgement. */
  #bytes = 0;
  #frames = 0;
  /** The frame of bulk data that is on the way, or was when the connection was cut. */
  #bulk: BulkFrame | null = null;

  get isAcknowledgementDue(): boolean {
    return this.#bytes >= ACKNOWLEDGE_BYTES || this.#frames >= ACKNOWLEDGE_FRAMES;
  }

  get hasUnacknowledged(): boolean {
    return this.#frames > 0;
  }

  acknowledged(): void {
    this.#bytes = 0;
    this.#frames = 0;
  }

  /**
   * A whole frame.
   * @returns false for one that was sent again over a new connection, and is here already
   * @throws TensorloomError `BAD_DATA`
   */
  take(header: FrameHeader): boolean {
    if (!this.#isNext(header)) return false;
    if (this.#bulk !== null)
      throw new TensorloomError('BAD_DATA', `Frame ${header.sequence} came again as another one.`);
    this.#count(header);
    return true;
  }

  /**
   * The head of a frame of bulk data.
   * @param sinkFor where its data go; asked for once, though it may come again
   * @param onWhole called when all of it is in place, before the sink's `end`
   * @throws TensorloomError `BAD_DATA`
   */
  begin(header: FrameHeader, sinkFor: () => BulkSink, onWhole: () => void): BulkSink {
    if (!this.#isNext(header)) return NOWHERE;
    if (this.#bulk !== null) this.#bulk.again(header);
    else
      this.#bulk = new BulkFrame(header, sinkFor(), () => {
        this.#bulk = null;
        this.#count(header);
        onWhole();
      });
    return this.#bulk;
  }

  #isNext({ sequence }: FrameHeader): boolean {
    if (sequence > this.received + 1)
      throw new TensorloomError('BAD_DATA', `Frame ${sequence} came after ${this.received}.`);
    return sequence > this.received;
  }

  #count({ sequence, textBytes, dataBytes }: FrameHeader): void {
    this.received = sequence;
    this.#bytes += HEADER_BYTES + textBytes + dataBytes;
    this.#frames++;
  }
}
