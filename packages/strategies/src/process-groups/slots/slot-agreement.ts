/** Whether all ranks make the same call: each writes down what it calls, and compares when all have come. */
import { mismatch, describeCall, type CollectiveCall } from '../collective-call.ts';
import { range, type Segment } from './segment.ts';

export class SlotAgreement {
  readonly #segment: Segment;
  readonly #encoder = new TextEncoder();
  #calls = 0;

  constructor(segment: Segment) {
    this.#segment = segment;
  }

  /** Where this call's words are: two take turns, since a slow rank may still be comparing those of the last call. */
  get parity(): number {
    return this.#calls & 1;
  }

  publish(call: CollectiveCall): void {
    this.#calls++;
    const { layout, words, bytes, rank } = this.#segment;
    const at = layout.descriptor(rank, this.#calls & 1);
    let text = this.#encoder.encode(describeCall(call));
    const room = layout.descriptorBytes - 4;
    // Counts of very many ranks: as much as fits, and a checksum of the whole.
    if (text.length > room) {
      const sum = text.reduce((hash, byte) => (Math.imul(hash, 31) + byte) | 0, 7);
      const tail = this.#encoder.encode(`… #${(sum >>> 0).toString(16)}`);
      const cut = text.slice(0, room);
      cut.set(tail, room - tail.length);
      text = cut;
    }
    words[at >> 2] = text.length;
    bytes.set(text, at + 4);
  }

  /** After a meeting. @throws TensorloomError `COLLECTIVE_MISMATCH`; the same on all ranks */
  compare(): void {
    const { layout, words, bytes, rank, worldSize } = this.#segment;
    const parity = this.#calls & 1;
    const at = layout.descriptor(rank, parity);
    const length = words[at >> 2] as number;
    for (let other = 0; other < worldSize; other++) {
      if (other === rank) continue;
      const theirs = layout.descriptor(other, parity);
      let same = words[theirs >> 2] === length;
      for (let i = 4; same && i < length + 4; i++) same = bytes[at + i] === bytes[theirs + i];
      if (!same)
        throw mismatch(
          new Map(
            range(worldSize).map((r) => [this.#segment.nameOf(r), this.#described(layout.descriptor(r, parity))]),
          ),
        );
    }
  }

  #described(at: number): string {
    const { words, bytes } = this.#segment;
    return new TextDecoder().decode(bytes.slice(at + 4, at + 4 + (words[at >> 2] as number)));
  }
}

/** @throws TensorloomError `COLLECTIVE_MISMATCH`; the same on all ranks */
export function checkPairs(
  call: CollectiveCall,
  counts: readonly Float64Array[],
  nameOf: (rank: number) => number,
): void {
  const worldSize = counts.length;
  for (let from = 0; from < worldSize; from++)
    for (let to = 0; to < worldSize; to++) {
      const sent = counts[from]?.[to] as number;
      const expected = counts[to]?.[worldSize + from] as number;
      if (sent === expected) continue;
      throw mismatch(
        new Map([
          [nameOf(from), `all-to-all ${call.elementType} with ${sent} elements for rank ${nameOf(to)}`],
          [nameOf(to), `all-to-all ${call.elementType} with ${expected} elements from rank ${nameOf(from)}`],
        ]),
      );
    }
}
