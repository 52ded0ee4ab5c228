/** Before each collective: have all ranks come, and do they call the same? Rank 0 hears all and tells all. */
import { createHash } from 'node:crypto';
import { TensorloomError, type ErrorCode } from '@tensorloom/core/distributed';
import { mismatch } from '../collective-call.ts';
import type { Communicator } from './communicator.ts';
import { ANY_SOURCE, type Pointer } from './mpi-library.ts';
import { waitFor, type MpiRequest } from './requests.ts';

const CALL_TAG = 1;
const VERDICT_TAG = 2;
const NOTICE_TAG = 3;
/** Small enough to be sent off before anybody receives it. */
const CALL_BYTES = 256;
const NOTICE_BYTES = 2048;
/** The first byte of a verdict. */
const AGREED = 1;
const WAITING = 2;
const FAILED = 3;
/** How long rank 0 waits before it tells those who have come that it is there. */
const QUIET_MS = 250;
/** How often it tells them so again. */
const WORD_MS = 1000;
/** How much longer the others wait for rank 0's word, so that the one who knows speaks first. */
const LEEWAY_MS = 2_000;
/** How long a rank that fails stays to get its notices off. */
const FAREWELL_MS = 200;

/** Agreement and notices of failure in one communicator. */
export class Agreement {
  readonly #byte: Pointer;
  readonly #calls: Uint8Array[];
  readonly #probeFlag = new Int32Array(1);
  readonly #group: Communicator;
  readonly #timeoutMs: number;
  /** What this thread was told by its own process. */
  readonly #aborted: () => TensorloomError | null;

  constructor(group: Communicator, timeoutMs: number, aborted: () => TensorloomError | null) {
    this.#group = group;
    this.#timeoutMs = timeoutMs;
    this.#aborted = aborted;
    this.#byte = group.mpi.typeOf('uint8');
    this.#calls = Array.from({ length: group.size }, () => new Uint8Array(CALL_BYTES));
  }

  /**
   * Ends when all ranks have come with the same text. It is a barrier by itself.
   * @throws TensorloomError `COLLECTIVE_MISMATCH`, `TIMEOUT`, `ABORTED`, or what another rank failed with
   */
  async agree(call: string): Promise<void> {
    if (this.#group.size === 1) return this.look();
    const text = encodeCall(call);
    await (this.#group.rank === 0 ? this.#hearAll(text, call) : this.#askRankZero(text, call));
  }

  /** @throws TensorloomError if this process was told to end, or another rank has told that it failed */
  readonly look = (): void => {
    const aborted = this.#aborted();
    if (aborted !== null) throw aborted;
    this.#group.mpi.call('Iprobe', ANY_SOURCE, NOTICE_TAG, this.#group.control, this.#probeFlag, null);
    if (this.#probeFlag[0] === 0) return;
    const notice = new Uint8Array(NOTICE_BYTES);
    const request = this.#receive(notice, ANY_SOURCE, NOTICE_TAG);
    while (!request.test());
    throw decodeError(notice);
  };

  /** As `look`, and gives up when the time is over. */
  deadline(timeoutMs: number, late: () => TensorloomError): () => void {
    const end = performance.now() + timeoutMs;
    return () => {
      this.look();
      if (performance.now() > end) throw late();
    };
  }

  /** Tells the other ranks why this one goes. */
  async tell(error: TensorloomError): Promise<void> {
    const notice = new Uint8Array(NOTICE_BYTES);
    encodeError(notice, error);
    const requests = this.#others().map((rank) => this.#send(notice, rank, NOTICE_TAG));
    const end = performance.now() + FAREWELL_MS;
    const isOver = (): boolean => requests.every((request) => request.test()) || performance.now() > end;
    await waitFor(isOver, { look: () => {}, patient: true });
  }

  async #hearAll(text: Uint8Array, call: string): Promise<void> {
    this.#calls[0]!.set(text);
    const requests = this.#others().map((rank) => ({
      rank,
      request: this.#receive(this.#calls[rank]!, rank, CALL_TAG),
      words: [] as MpiRequest[],
      toldMs: -Infinity,
    }));
    const missing = (): number[] => requests.filter(({ request }) => !request.test()).map(({ rank }) => rank);
    const lateError = (): TensorloomError => this.#late(missing(), call);
    const checkDeadline = this.deadline(this.#timeoutMs, lateError);
    const quietUntil = performance.now() + QUIET_MS;
    const look = (): void => {
      checkDeadline();
      const now = performance.now();
      if (now < quietUntil) return;
      for (const entry of requests) {
        if (now < entry.toldMs + WORD_MS || !entry.request.test()) continue;
        entry.words = entry.words.filter((word) => !word.test());
        entry.words.push(this.#send(Uint8Array.of(WAITING), entry.rank, VERDICT_TAG));
        entry.toldMs = now;
      }
    };
    await waitFor(() => requests.every(({ request }) => request.test()), { look, patient: true });
    const different = this.#calls.some((other) => Buffer.compare(other, text) !== 0);
    const verdict = new Uint8Array(different ? NOTICE_BYTES : 1);
    verdict[0] = different ? FAILED : AGREED;
    const error = different ? mismatch(new Map(this.#calls.map((bytes, rank) => [rank, decodeCall(bytes)]))) : null;
    if (error !== null) encodeError(verdict.subarray(1), error);
    const told = this.#others().map((rank) => this.#send(verdict, rank, VERDICT_TAG));
    await waitFor(() => told.every((request) => request.test()), { look: this.look, patient: true });
    if (error !== null) throw error;
  }

  async #askRankZero(text: Uint8Array, call: string): Promise<void> {
    const sent = this.#send(text, 0, CALL_TAG);
    for (;;) {
      const verdict = new Uint8Array(NOTICE_BYTES);
      const answer = this.#receive(verdict, 0, VERDICT_TAG);
      const look = this.deadline(this.#timeoutMs + LEEWAY_MS, () => this.#late([0], call));
      await waitFor(() => answer.test() && sent.test(), { look, patient: true });
      if (verdict[0] === AGREED) return;
      if (verdict[0] === FAILED) throw decodeError(verdict.subarray(1));
    }
  }

  #late(ranks: readonly number[], call: string): TensorloomError {
    const who = `rank${ranks.length > 1 ? 's' : ''} ${ranks.join(', ')}`;
    return new TensorloomError('TIMEOUT', `${call}: ${who} did not come within ${this.#timeoutMs / 1000} s.`);
  }

  #others(): number[] {
    return Array.from({ length: this.#group.size }, (_, rank) => rank).filter((rank) => rank !== this.#group.rank);
  }

  #send(data: Uint8Array, rank: number, tag: number): MpiRequest {
    return this.#group.send(data, this.#byte, rank, tag, this.#group.control);
  }

  #receive(data: Uint8Array, rank: number, tag: number): MpiRequest {
    return this.#group.receive(data, this.#byte, rank, tag, this.#group.control);
  }
}

/** Zero-filled to `CALL_BYTES`; of a text that is longer, the beginning and a digest of the whole. */
function encodeCall(call: string): Uint8Array {
  const bytes = new Uint8Array(CALL_BYTES);
  const whole = Buffer.from(call);
  const digest = (): string => `… (${createHash('sha256').update(whole).digest('hex').slice(0, 32)})`;
  bytes.set(whole.length <= CALL_BYTES ? whole : Buffer.from(call.slice(0, 60) + digest()));
  return bytes;
}

function decodeCall(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString().replace(/\0+$/, '');
}

/** The code, a line break, the message, zeros. */
function encodeError(target: Uint8Array, { code, message }: TensorloomError): void {
  target.set(Buffer.from(`${code}\n${message}`).subarray(0, target.length));
}

function decodeError(bytes: Uint8Array): TensorloomError {
  const text = decodeCall(bytes);
  const end = text.indexOf('\n');
  return new TensorloomError(text.slice(0, end) as ErrorCode, text.slice(end + 1));
}
