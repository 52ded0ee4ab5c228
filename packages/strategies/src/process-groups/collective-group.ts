/** What all process groups share: checks of arguments, collectives of objects, numbering. Subclasses carry out calls. */
import {
  bytesPerElement,
  elementTypeOf,
  TensorloomError,
  viewOf,
  type ArrayOf,
  type CollectiveArray,
  type ElementType,
  type ProcessGroup,
  type ReduceOp,
  type Work,
} from '@tensorloom/core/distributed';
import type { CollectiveCall, CollectiveKind } from './collective-call.ts';
import { packObject, unpackObject } from './objects.ts';

/** A call before its defaults are filled in. */
type Partially = Pick<CollectiveCall, 'kind' | 'input' | 'output'> & Partial<CollectiveCall>;

/** Checks each call at once (`BAD_OPTION`) and hands it to `submit`. */
export abstract class CollectiveGroup implements ProcessGroup {
  abstract readonly name: string;
  abstract readonly rank: number;
  abstract readonly worldSize: number;
  abstract readonly globalRanks: readonly number[];

  /** Carries out a checked call, after all that were submitted before it. */
  protected abstract submit(call: CollectiveCall): Work;
  abstract split(ranks: readonly number[]): Promise<ProcessGroup | null>;
  abstract abort(reason: string): void;
  abstract close(): Promise<void>;

  /** Shared memory, which communication threads and other threads can reach. */
  allocate<E extends ElementType>(type: E, length: number): ArrayOf[E] {
    return viewOf(type, new SharedArrayBuffer(length * bytesPerElement(type)), 0, length);
  }

  allReduce(data: CollectiveArray, op: ReduceOp): Work {
    return this.#submit({ kind: 'all-reduce', input: data, output: data, op, counts: [data.length] });
  }

  reduceScatter(
    input: CollectiveArray,
    output: CollectiveArray,
    op: ReduceOp,
    counts = this.#parts('reduce-scatter', input.length),
  ): Work {
    this.#checkCounts('reduce-scatter', 'input', input.length, counts);
    this.#checkLength('reduce-scatter', 'output', output.length, counts[this.rank] as number);
    return this.#submit({ kind: 'reduce-scatter', input, output, op, counts });
  }

  allGather(input: CollectiveArray, output: CollectiveArray, counts = this.#repeat(input.length)): Work {
    this.#checkCounts('all-gather', 'output', output.length, counts);
    this.#checkLength('all-gather', 'input', input.length, counts[this.rank] as number);
    return this.#submit({ kind: 'all-gather', input, output, counts });
  }

  broadcast(data: CollectiveArray, source: number): Work {
    return this.#submit({ kind: 'broadcast', input: data, output: data, peer: source, counts: [data.length] });
  }

  gather(
    input: CollectiveArray,
    output: CollectiveArray | null,
    destination: number,
    counts = this.#repeat(input.length),
  ): Work {
    this.#checkLength('gather', 'input', input.length, counts[this.rank] as number);
    this.#checkRoot('gather', 'output', output, destination, counts);
    return this.#submit({ kind: 'gather', input, output, peer: destination, counts });
  }

  scatter(
    input: CollectiveArray | null,
    output: CollectiveArray,
    source: number,
    counts = this.#repeat(output.length),
  ): Work {
    this.#checkLength('scatter', 'output', output.length, counts[this.rank] as number);
    this.#checkRoot('scatter', 'input', input, source, counts);
    return this.#submit({ kind: 'scatter', input, output, peer: source, counts });
  }

  allToAll(
    input: CollectiveArray,
    output: CollectiveArray,
    sendCounts = this.#parts('all-to-all', input.length),
    receiveCounts = this.#parts('all-to-all', output.length),
  ): Work {
    this.#checkCounts('all-to-all', 'input', input.length, sendCounts);
    this.#checkCounts('all-to-all', 'output', output.length, receiveCounts);
    this.#checkLength(
      'all-to-all',
      "this rank's part of the output",
      receiveCounts[this.rank] as number,
      sendCounts[this.rank] as number,
    );
    return this.#submit({ kind: 'all-to-all', input, output, counts: sendCounts, receiveCounts });
  }

  send(data: CollectiveArray, destination: number, tag = 0): Work {
    return this.#submit({ kind: 'send', input: data, output: null, peer: destination, tag, counts: [data.length] });
  }

  receive(data: CollectiveArray, source: number, tag = 0): Work {
    return this.#submit({ kind: 'receive', input: null, output: data, peer: source, tag, counts: [data.length] });
  }

  barrier(name = ''): Work {
    return this.#submit({ kind: 'barrier', input: null, output: null, name });
  }

  async broadcastObject<T>(value: T, source: number): Promise<T> {
    const packed = this.rank === source ? packObject(value) : new Uint8Array(0);
    const bytes = Int32Array.of(packed.length);
    await this.broadcast(bytes, source);
    const data = this.rank === source ? packed : new Uint8Array(bytes[0] as number);
    await this.broadcast(data, source);
    return this.rank === source ? value : unpackObject<T>(data);
  }

  async allGatherObject<T>(value: T): Promise<T[]> {
    const packed = packObject(value);
    const counts = await this.#gatherLengths(packed.length);
    const all = new Uint8Array(total(counts));
    await this.allGather(packed, all, counts);
    return unpackParts<T>(all, counts);
  }

  async gatherObject<T>(value: T, destination: number): Promise<T[] | null> {
    const packed = packObject(value);
    const counts = await this.#gatherLengths(packed.length);
    const all = this.rank === destination ? new Uint8Array(total(counts)) : null;
    await this.gather(packed, all, destination, counts);
    return all === null ? null : unpackParts<T>(all, counts);
  }

  async #gatherLengths(own: number): Promise<number[]> {
    const lengths = new Int32Array(this.worldSize);
    await this.allGather(Int32Array.of(own), lengths);
    return [...lengths];
  }

  #submit(given: Partially): Work {
    const { kind, input, output, op = null, peer = -1 } = given;
    const elementType =
      input === null && output === null ? 'uint8' : elementTypeOf((input ?? output) as CollectiveArray);
    if (input !== null && output !== null && elementTypeOf(output) !== elementType)
      throw bad(kind, `its input is ${elementType}, its output ${elementTypeOf(output)}; they must be of one type`);
    if (op === 'mean' && (elementType === 'int32' || elementType === 'uint8'))
      throw bad(kind, `the mean of ${elementType} is no ${elementType}; use sum, or floating point`);
    const hasPeer = !['all-reduce', 'reduce-scatter', 'all-gather', 'all-to-all', 'barrier'].includes(kind);
    if (hasPeer && !(Number.isInteger(peer) && peer >= 0 && peer < this.worldSize))
      throw bad(kind, `there is no rank ${peer}; ranks are 0 to ${this.worldSize - 1}`);
    const defaults = { op: null, peer: -1, tag: 0, counts: [], receiveCounts: [], name: '' };
    return this.submit({ ...defaults, ...given, elementType });
  }

  /** Equal parts of `length`. */
  #parts(kind: CollectiveKind, length: number): number[] {
    if (length % this.worldSize !== 0)
      throw bad(kind, `${length} elements are no equal parts for ${this.worldSize} ranks; give the counts`);
    return this.#repeat(length / this.worldSize);
  }

  #repeat(count: number): number[] {
    return new Array<number>(this.worldSize).fill(count);
  }

  #checkCounts(kind: CollectiveKind, what: string, length: number, counts: readonly number[]): void {
    if (counts.length !== this.worldSize || counts.some((count) => !Number.isInteger(count) || count < 0))
      throw bad(
        kind,
        `counts are [${counts.join(', ')}]; it takes one whole number of at least 0 for each of ${this.worldSize} ranks`,
      );
    this.#checkLength(kind, what, length, total(counts));
  }

  #checkLength(kind: CollectiveKind, what: string, length: number, expected: number): void {
    if (length !== expected) throw bad(kind, `${what} has ${length} elements; expected ${expected}`);
  }

  #checkRoot(
    kind: CollectiveKind,
    what: string,
    data: CollectiveArray | null,
    root: number,
    counts: readonly number[],
  ): void {
    if (this.rank === root) {
      if (data === null) throw bad(kind, `rank ${root} is the one with the whole, and gave no ${what}`);
      this.#checkCounts(kind, what, data.length, counts);
    } else if (data !== null) throw bad(kind, `only rank ${root} gives an ${what}; give null`);
  }
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function unpackParts<T>(all: Uint8Array, counts: readonly number[]): T[] {
  let offset = 0;
  return counts.map((count) => unpackObject<T>(all.subarray(offset, (offset += count))));
}

function bad(kind: CollectiveKind, what: string): TensorloomError {
  return new TensorloomError('BAD_OPTION', `${kind}: ${what}.`);
}
