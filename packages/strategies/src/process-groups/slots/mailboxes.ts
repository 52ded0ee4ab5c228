/** Send and receive through a ring buffer for each pair of ranks. */
import { elementTypeOf, TensorloomError, bytesPerElement, type ElementType } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { range, type Segment } from './segment.ts';

interface Letter {
  readonly tag: number;
  readonly type: number;
  readonly data: Uint8Array;
  /** Bytes of `data` that have come. */
  filled: number;
}

const HEADER_BYTES = 16;
const TYPES: readonly ElementType[] = ['float32', 'float64', 'int32', 'uint8', 'float16', 'bfloat16'];

/**
 * A letter travels through the pair's ring in pieces. While a rank waits for room, for a letter or in a collective, it takes
 * in what others have written for it, into memory of its own: so any number of ranks may all send first, at any length.
 */
export class Mailboxes {
  readonly #segment: Segment;
  /** Letters that have come, or are coming (the last one), by sender. */
  readonly #letters: Letter[][];

  constructor(segment: Segment) {
    this.#segment = segment;
    this.#letters = range(segment.worldSize).map(() => []);
    segment.onIdle = () => this.#takeIn();
  }

  send(call: CollectiveCall): void {
    const input = call.input as NonNullable<CollectiveCall['input']>;
    const data = new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    const header = new Uint8Array(HEADER_BYTES);
    const view = new DataView(header.buffer);
    view.setInt32(0, call.tag, true);
    view.setInt32(4, TYPES.indexOf(call.elementType), true);
    view.setFloat64(8, data.length, true);
    if (call.peer === this.#segment.rank) {
      this.#list(call.peer).push({
        tag: call.tag,
        type: TYPES.indexOf(call.elementType),
        data: data.slice(),
        filled: data.length,
      });
      return;
    }
    this.#write(call.peer, header, HEADER_BYTES);
    this.#write(call.peer, data, 1);
  }

  receive(call: CollectiveCall): void {
    const output = call.output as NonNullable<CollectiveCall['output']>;
    const what = `receive from rank ${this.#segment.nameOf(call.peer)} with tag ${call.tag}`;
    if (call.peer === this.#segment.rank && this.#find(call) === undefined)
      throw new TensorloomError(
        'MISUSE',
        `receive: rank ${call.peer} waits for itself, and nothing with tag ${call.tag} was sent.`,
      );
    this.#waitUntil(() => this.#find(call) !== undefined, call.peer, what);
    const letter = this.#find(call) as Letter;
    this.#list(call.peer).splice(this.#list(call.peer).indexOf(letter), 1);
    const type = TYPES[letter.type] as ElementType;
    if (type !== elementTypeOf(output) || letter.data.length !== output.byteLength) {
      const sent = `${type}[${letter.data.length / bytesPerElement(type)}]`;
      throw this.#segment.fail(
        new TensorloomError(
          'COLLECTIVE_MISMATCH',
          `Rank ${this.#segment.nameOf(call.peer)} sent ${sent} with tag ${call.tag}; rank ${this.#segment.nameOf(this.#segment.rank)} receives ${call.elementType}[${output.length}]. Both must agree.`,
        ),
      );
    }
    new Uint8Array(output.buffer, output.byteOffset, output.byteLength).set(letter.data);
  }

  #list(rank: number): Letter[] {
    return this.#letters[rank] as Letter[];
  }

  #find(call: CollectiveCall): Letter | undefined {
    return this.#list(call.peer).find((letter) => letter.tag === call.tag && letter.filled === letter.data.length);
  }

  /** @param least room to wait for before a piece is written: a header is never cut in two */
  #write(to: number, data: Uint8Array, least: number): void {
    const { layout, words, bytes, rank } = this.#segment;
    const size = layout.mailBytes;
    const written = layout.mailWritten(rank, to) >> 2;
    const read = layout.mailRead(rank, to) >> 2;
    const room = (): number => size - ((Atomics.load(words, written) - Atomics.load(words, read)) >>> 0);
    for (let done = 0; done < data.length;) {
      this.#waitUntil(() => room() >= least, to, `send to rank ${this.#segment.nameOf(to)}`);
      const position = Atomics.load(words, written) >>> 0;
      const piece = Math.min(data.length - done, room());
      const first = Math.min(piece, size - (position % size));
      const base = layout.mail(rank, to);
      bytes.set(data.subarray(done, done + first), base + (position % size));
      bytes.set(data.subarray(done + first, done + piece), base);
      Atomics.store(words, written, (position + piece) | 0);
      this.#ring(to);
      done += piece;
    }
  }

  /** Takes all that has been written for this rank out of the rings. */
  #takeIn(): void {
    for (let from = 0; from < this.#segment.worldSize; from++) if (from !== this.#segment.rank) this.#takeInFrom(from);
  }

  #takeInFrom(from: number): void {
    const { layout, words, rank } = this.#segment;
    const written = layout.mailWritten(from, rank) >> 2;
    const read = layout.mailRead(from, rank) >> 2;
    const list = this.#list(from);
    for (;;) {
      const position = Atomics.load(words, read) >>> 0;
      const available = (Atomics.load(words, written) - position) >>> 0;
      let letter = list.at(-1);
      if (letter === undefined || letter.filled === letter.data.length) {
        if (available < HEADER_BYTES) return;
        const header = new DataView(this.#copyOut(from, position, HEADER_BYTES).buffer);
        letter = {
          tag: header.getInt32(0, true),
          type: header.getInt32(4, true),
          data: new Uint8Array(header.getFloat64(8, true)),
          filled: 0,
        };
        list.push(letter);
        Atomics.store(words, read, (position + HEADER_BYTES) | 0);
      } else {
        const piece = Math.min(available, letter.data.length - letter.filled);
        if (piece === 0) return;
        letter.data.set(this.#copyOut(from, position, piece), letter.filled);
        letter.filled += piece;
        Atomics.store(words, read, (position + piece) | 0);
      }
      this.#ring(from);
    }
  }

  #copyOut(from: number, position: number, length: number): Uint8Array<ArrayBuffer> {
    const { layout, bytes, rank } = this.#segment;
    const base = layout.mail(from, rank);
    const start = position % layout.mailBytes;
    const first = Math.min(length, layout.mailBytes - start);
    const copy = new Uint8Array(length);
    copy.set(bytes.subarray(base + start, base + start + first));
    copy.set(bytes.subarray(base, base + length - first), first);
    return copy;
  }

  #ring(rank: number): void {
    const bell = this.#segment.layout.bell(rank) >> 2;
    Atomics.add(this.#segment.words, bell, 1);
    this.#segment.memory.wake(bell);
  }

  #waitUntil(holds: () => boolean, peer: number, what: string): void {
    const bell = this.#segment.layout.bell(this.#segment.rank) >> 2;
    this.#segment.waitFor(
      bell,
      () => {
        if (holds()) return true;
        this.#takeIn();
        return holds();
      },
      what,
      () => [peer],
    );
  }
}
