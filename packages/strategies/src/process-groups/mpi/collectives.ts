/** Moves the data of one collective that all ranks have agreed on. */
import { TensorloomError, type CollectiveArray, type ElementType, type ReduceOp } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { scaleToMean } from '../reduce.ts';
import type { Communicator } from './communicator.ts';
import { planExchange } from './exchange-plan.ts';
import { foldHalves } from './fold-halves.ts';
import { IN_PLACE, type CollectiveName, type NativeArgument } from './mpi-library.ts';
import { compact, emptyLike, roomFor, roundsOf, sliceOf, spread, type RoundPlan } from './rounds.ts';

export class MpiCollectives {
  readonly #group: Communicator;
  readonly #lookDuring: (call: CollectiveCall) => () => void;
  #look: () => void = () => {};
  readonly #maxCount: number;

  /** @param lookDuring makes what is called while a call is waited for, and throws to give up */
  constructor(group: Communicator, lookDuring: (call: CollectiveCall) => () => void) {
    this.#group = group;
    this.#lookDuring = lookDuring;
    this.#maxCount = group.options.maxCount;
  }

  /** @throws TensorloomError `COLLECTIVE_MISMATCH` (all-to-all), `RANK_LOST`, and what is thrown while waiting */
  async run(call: CollectiveCall): Promise<void> {
    const { elementType: type, op } = call;
    this.#look = this.#lookDuring(call);
    switch (call.kind) {
      case 'all-reduce':
        if (isHalf(type)) return this.#halves(call, equalParts(call.output!.length, this.#group.size), true);
        await this.#inPlace(call.output!, (slice) =>
          this.#mpi('Allreduce', IN_PLACE, slice, slice.length, this.#type(type), this.#op(op)),
        );
        return this.#mean(call.output!, op, type);
      case 'reduce-scatter':
        if (isHalf(type)) return this.#halves(call, call.counts, false);
        return this.#reduceScatter(call);
      case 'all-gather':
        return this.#allGather(call.input!, call.output!, call.counts, type);
      case 'broadcast':
        return this.#inPlace(call.output!, (slice) =>
          this.#mpi('Bcast', slice, slice.length, this.#type(type), call.peer),
        );
      case 'gather':
        return this.#gather(call);
      case 'scatter':
        return this.#scatter(call);
      case 'all-to-all':
        return this.#allToAll(call);
      case 'barrier':
        // To agree on it was one.
        return;
      default:
        throw new TensorloomError('MISUSE', `${call.kind} is no collective.`);
    }
  }

  async #inPlace(data: CollectiveArray, run: (slice: CollectiveArray) => Promise<void>): Promise<void> {
    for (let start = 0; start < data.length; start += this.#maxCount)
      await run(sliceOf(data, start, start + this.#maxCount));
  }

  async #reduceScatter({ input, output, op, elementType, counts }: CollectiveCall): Promise<void> {
    const own = this.#group.rank;
    let start = 0;
    for (const round of roundsOf(counts, this.#maxCount)) {
      const count = round.counts[own]!;
      const slices = compact(apart(input!, output), round);
      await this.#mpi(
        'Reduce_scatter',
        slices,
        output!.subarray(start, start + count),
        round.counts,
        this.#type(elementType),
        this.#op(op),
      );
      start += count;
    }
    this.#mean(output!, op, elementType);
  }

  async #allGather(
    input: CollectiveArray,
    output: CollectiveArray,
    counts: readonly number[],
    type: ElementType,
  ): Promise<void> {
    const own = this.#group.rank;
    const mpiType = this.#type(type);
    const rounds = roundsOf(counts, this.#maxCount);
    const inPlace = rounds.length === 1 && isPart(input, output, rounds[0]!.starts[own]!);
    const source = inPlace ? input : apart(input, output);
    let start = 0;
    for (const round of rounds) {
      const count = round.counts[own]!;
      const room = roomFor(output, round);
      const given = inPlace ? IN_PLACE : source.subarray(start, start + count);
      await this.#mpi('Allgatherv', given, count, mpiType, room, round.counts, round.offsets, mpiType);
      spread(room, output, round);
      start += count;
    }
  }

  async #gather({ input, output, elementType, counts, peer }: CollectiveCall): Promise<void> {
    const own = this.#group.rank;
    const type = this.#type(elementType);
    const source = apart(input!, output);
    let start = 0;
    for (const round of roundsOf(counts, this.#maxCount)) {
      const count = round.counts[own]!;
      const room = output === null ? null : roomFor(output, round);
      await this.#mpi(
        'Gatherv',
        source.subarray(start, start + count),
        count,
        type,
        room,
        round.counts,
        round.offsets,
        type,
        peer,
      );
      if (room !== null) spread(room, output!, round);
      start += count;
    }
  }

  async #scatter({ input, output, elementType, counts, peer }: CollectiveCall): Promise<void> {
    const own = this.#group.rank;
    const type = this.#type(elementType);
    let start = 0;
    for (const round of roundsOf(counts, this.#maxCount)) {
      const count = round.counts[own]!;
      const slices = input === null ? null : compact(apart(input, output), round);
      await this.#mpi(
        'Scatterv',
        slices,
        round.counts,
        round.offsets,
        type,
        output!.subarray(start, start + count),
        count,
        type,
        peer,
      );
      start += count;
    }
  }

  async #allToAll({ input, output, elementType, counts, receiveCounts }: CollectiveCall): Promise<void> {
    const plan = planExchange(await this.#partsOfAll(counts, receiveCounts), this.#group.size, this.#maxCount);
    await this.#exchange(apart(input!, output), counts, output!, receiveCounts, elementType, plan);
  }

  async #exchange(
    input: CollectiveArray,
    counts: readonly number[],
    output: CollectiveArray,
    receiveCounts: readonly number[],
    elementType: ElementType,
    plan: RoundPlan,
  ): Promise<void> {
    const type = this.#type(elementType);
    const sent = roundsOf(counts, this.#maxCount, plan);
    const received = roundsOf(receiveCounts, this.#maxCount, plan);
    for (let i = 0; i < plan.rounds; i++) {
      const [give, take] = [sent[i]!, received[i]!];
      const [slices, room] = [compact(input, give), roomFor(output, take)];
      await this.#mpi('Alltoallv', slices, give.counts, give.offsets, type, room, take.counts, take.offsets, type);
      spread(room, output, take);
    }
  }

  /** What each rank sends to and receives from each, by rank: 2 x worldSize counts of each. */
  async #partsOfAll(counts: readonly number[], receiveCounts: readonly number[]): Promise<Float64Array> {
    // Doubles: a part may have more elements than a C int can say.
    const own = Float64Array.of(...counts, ...receiveCounts);
    const all = new Float64Array(own.length * this.#group.size);
    const type = this.#type('float64');
    await this.#mpi('Allgather', own, own.length, type, all, own.length, type);
    return all;
  }

  /**
   * MPI has no half-precision numbers: each rank gets all contributions to its part, adds them up in float32 and rounds once.
   * @param all whether every rank gets the whole result
   */
  async #halves(call: CollectiveCall, parts: readonly number[], all: boolean): Promise<void> {
    const { rank, size } = this.#group;
    const { input, output, op } = call;
    const type = call.elementType as 'float16' | 'bfloat16';
    const own = parts[rank]!;
    const contributions = emptyLike(output!, own * size);
    const received = new Array<number>(size).fill(own);
    const largest = Math.max(...parts);
    const perRound =
      largest * size <= this.#maxCount ? Math.max(1, largest) : Math.max(1, Math.floor(this.#maxCount / size));
    const plan = { perRound, rounds: Math.ceil(largest / perRound) };
    await this.#exchange(input!, parts, contributions, received, type, plan);
    if (!all) return foldHalves(contributions as Uint16Array, output as Uint16Array, op!, type);
    const result = emptyLike(output!, own);
    foldHalves(contributions as Uint16Array, result as Uint16Array, op!, type);
    await this.#allGather(result, output!, parts, type);
  }

  async #mpi(name: CollectiveName, ...parameters: NativeArgument[]): Promise<void> {
    await this.#group.collective(name, parameters, this.#look);
  }

  #type(type: ElementType): bigint {
    return this.#group.mpi.typeOf(type);
  }

  #op(op: ReduceOp | null): bigint {
    return this.#group.mpi.opOf(op!);
  }

  #mean(data: CollectiveArray, op: ReduceOp | null, type: ElementType): void {
    if (op === 'mean') scaleToMean(data, this.#group.size, type);
  }
}

function isHalf(type: ElementType): boolean {
  return type === 'float16' || type === 'bfloat16';
}

/** About equal parts of `length`. */
function equalParts(length: number, size: number): number[] {
  const part = Math.ceil(length / size);
  return Array.from({ length: size }, (_, rank) => Math.max(0, Math.min(part, length - rank * part)));
}

/** Whether `input` is just where the own part of `output` is. */
function isPart(input: CollectiveArray, output: CollectiveArray, start: number): boolean {
  return input.buffer === output.buffer && input.byteOffset === output.byteOffset + start * output.BYTES_PER_ELEMENT;
}

/** MPI does not allow that buffers overlap. */
function apart(input: CollectiveArray, output: CollectiveArray | null): CollectiveArray {
  const overlap =
    output !== null &&
    input.buffer === output.buffer &&
    input.byteOffset < output.byteOffset + output.byteLength &&
    output.byteOffset < input.byteOffset + input.byteLength;
  if (!overlap) return input;
  const copy = emptyLike(input, input.length);
  copy.set(input);
  return copy;
}
