/** Collectives through shared memory: each rank copies a chunk into its slot, all meet, each reads what it needs from the others' slots. */
import type { CollectiveArray, ReduceOp } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { reduceInto, scaleToMean } from '../reduce.ts';
import { Mailboxes } from './mailboxes.ts';
import { section } from '../sections.ts';
import { copy, copyAny, offsets, part, window } from './pieces.ts';
import { range, type Segment } from './segment.ts';
import { checkPairs, SlotAgreement } from './slot-agreement.ts';
import { SlotChunks } from './slot-chunks.ts';

// Up to here every rank reduces everything by itself: one meeting in place of two.
const SMALL_BYTES = 4096;

/** All calls block. Results are bit-identical on all ranks: elements are folded in the order of ranks. */
export class SlotCollectives {
  readonly #segment: Segment;
  readonly #mail: Mailboxes;
  readonly #agreement: SlotAgreement;
  readonly #chunks: SlotChunks;

  constructor(segment: Segment) {
    this.#segment = segment;
    this.#mail = new Mailboxes(segment);
    this.#agreement = new SlotAgreement(segment);
    this.#chunks = new SlotChunks(segment, this.#agreement);
  }

  /** @throws TensorloomError with the codes of `ProcessGroup`; then all later calls fail with the same */
  execute(call: CollectiveCall): void {
    this.#segment.check();
    try {
      this.#execute(call);
    } catch (error) {
      throw this.#segment.fail(error as Error);
    }
  }

  #execute(call: CollectiveCall): void {
    const { input, output } = call;
    if (call.kind === 'send') return this.#mail.send(call);
    if (call.kind === 'receive') return this.#mail.receive(call);
    this.#agreement.publish(call);
    switch (call.kind) {
      case 'all-reduce':
        return this.#allReduce(call, output as CollectiveArray, call.op as ReduceOp);
      case 'reduce-scatter':
        return this.#reduceScatter(call, input as CollectiveArray, output as CollectiveArray, call.op as ReduceOp);
      case 'barrier':
        return this.#chunks.meet(call, true);
      case 'broadcast':
        return this.#broadcast(call, output as CollectiveArray);
      case 'all-gather':
      case 'gather':
        return this.#gather(call, input as CollectiveArray, output);
      case 'scatter':
        return this.#scatter(call, input, output as CollectiveArray);
      case 'all-to-all':
        return this.#allToAll(call, input as CollectiveArray, output as CollectiveArray);
    }
  }

  #allReduce(call: CollectiveCall, data: CollectiveArray, op: ReduceOp): void {
    const { rank, worldSize } = this.#segment;
    if (data.byteLength <= SMALL_BYTES) {
      copy(this.#chunks.view(call, rank, 0, 0, data.length), data);
      this.#chunks.meet(call, true);
      copy(data, this.#chunks.view(call, 0, 0, 0, data.length));
      for (let from = 1; from < worldSize; from++)
        reduceInto(data, this.#chunks.view(call, from, 0, 0, data.length), op, call.elementType);
      if (op === 'mean') scaleToMean(data, worldSize, call.elementType);
      this.#chunks.turn++;
      return;
    }
    const chunk = this.#chunks.capacity(call);
    const chunks = Math.ceil(data.length / chunk);
    const copyIn = (index: number): void => {
      const length = Math.min(chunk, data.length - index * chunk);
      const [start, end] = part(length, worldSize, rank);
      const own = section(data, index * chunk, index * chunk + length);
      copy(this.#chunks.view(call, rank, index, 0, start), section(own, 0, start));
      copy(this.#chunks.view(call, rank, index, end, length - end), section(own, end));
    };
    copyIn(0);
    this.#chunks.meet(call, true);
    for (let index = 0; index < chunks; index++) {
      const length = Math.min(chunk, data.length - index * chunk);
      const [start, end] = part(length, worldSize, rank);
      const own = section(data, index * chunk + start, index * chunk + end);
      this.#chunks.fold(call, own, (from) => this.#chunks.view(call, from, index, start, end - start), op);
      copy(this.#chunks.view(call, rank, index, start, end - start), own);
      // One meeting says both: this chunk is reduced, the next one is there.
      if (index + 1 < chunks) copyIn(index + 1);
      this.#chunks.meet(call, false);
      for (let from = 0; from < worldSize; from++) {
        if (from === rank) continue;
        const [first, last] = part(length, worldSize, from);
        copy(
          section(data, index * chunk + first, index * chunk + last),
          this.#chunks.view(call, from, index, first, last - first),
        );
      }
    }
    this.#chunks.turn += chunks;
  }

  #reduceScatter(call: CollectiveCall, input: CollectiveArray, output: CollectiveArray, op: ReduceOp): void {
    const { rank, worldSize } = this.#segment;
    const starts = offsets(call.counts);
    const own = section(input, starts[rank], (starts[rank] as number) + output.length);
    if (own.byteOffset !== output.byteOffset || own.buffer !== output.buffer) copyAny(output, own);
    const piece = Math.floor(this.#chunks.capacity(call) / worldSize);
    this.#chunks.steps(call, piece, call.counts, {
      give: (step) => {
        for (let to = 0; to < worldSize; to++) {
          if (to === rank) continue;
          const [start, length] = window(call.counts[to] as number, piece, step);
          const from = (starts[to] as number) + start;
          copy(this.#chunks.view(call, rank, 0, to * piece, length), section(input, from, from + length));
        }
      },
      take: (step) => {
        const [start, length] = window(output.length, piece, step);
        const target = section(output, start, start + length);
        this.#chunks.fold(call, target, (from) => this.#chunks.view(call, from, 0, rank * piece, length), op);
      },
    });
  }

  #gather(call: CollectiveCall, input: CollectiveArray, output: CollectiveArray | null): void {
    const { rank, worldSize } = this.#segment;
    const starts = offsets(call.counts);
    const piece = this.#chunks.capacity(call);
    if (output !== null) copyAny(section(output, starts[rank], (starts[rank] as number) + input.length), input);
    this.#chunks.steps(call, piece, call.counts, {
      give: (step) => {
        const [start, length] = window(input.length, piece, step);
        copy(this.#chunks.view(call, rank, 0, 0, length), section(input, start, start + length));
      },
      take: (step) => {
        if (output === null) return;
        for (let from = 0; from < worldSize; from++) {
          if (from === rank) continue;
          const [start, length] = window(call.counts[from] as number, piece, step);
          const to = (starts[from] as number) + start;
          copy(section(output, to, to + length), this.#chunks.view(call, from, 0, 0, length));
        }
      },
    });
  }

  #broadcast(call: CollectiveCall, data: CollectiveArray): void {
    const piece = this.#chunks.capacity(call);
    const isSource = this.#segment.rank === call.peer;
    this.#chunks.steps(call, piece, [data.length], {
      give: (step) => {
        const [start, length] = window(data.length, piece, step);
        if (isSource) copy(this.#chunks.view(call, call.peer, 0, 0, length), section(data, start, start + length));
      },
      take: (step) => {
        const [start, length] = window(data.length, piece, step);
        if (!isSource) copy(section(data, start, start + length), this.#chunks.view(call, call.peer, 0, 0, length));
      },
    });
  }

  #scatter(call: CollectiveCall, input: CollectiveArray | null, output: CollectiveArray): void {
    const { rank, worldSize } = this.#segment;
    const starts = offsets(call.counts);
    const piece = Math.floor(this.#chunks.capacity(call) / worldSize);
    if (input !== null) copyAny(output, section(input, starts[rank], (starts[rank] as number) + output.length));
    this.#chunks.steps(call, piece, call.counts, {
      give: (step) => {
        if (input === null) return;
        for (let to = 0; to < worldSize; to++) {
          const [start, length] = window(call.counts[to] as number, piece, step);
          const from = (starts[to] as number) + start;
          copy(this.#chunks.view(call, rank, 0, to * piece, length), section(input, from, from + length));
        }
      },
      take: (step) => {
        const [start, length] = window(output.length, piece, step);
        if (input === null)
          copy(section(output, start, start + length), this.#chunks.view(call, call.peer, 0, rank * piece, length));
      },
    });
  }

  #allToAll(call: CollectiveCall, input: CollectiveArray, output: CollectiveArray): void {
    const { rank, worldSize, memory, layout } = this.#segment;
    const { parity } = this.#agreement;
    const own = new Float64Array(memory.buffer, layout.counts(rank, parity), 2 * worldSize);
    own.set(call.counts);
    own.set(call.receiveCounts, worldSize);
    const piece = Math.floor(this.#chunks.capacity(call) / worldSize);
    const starts = offsets(call.counts);
    const receiveStarts = offsets(call.receiveCounts);
    copyAny(
      section(output, receiveStarts[rank], (receiveStarts[rank] as number) + (call.receiveCounts[rank] as number)),
      section(input, starts[rank], (starts[rank] as number) + (call.counts[rank] as number)),
    );
    const longest = (): number[] => {
      const all = range(worldSize).map((r) => new Float64Array(memory.buffer, layout.counts(r, parity), 2 * worldSize));
      checkPairs(call, all, (r) => this.#segment.nameOf(r));
      return all.flatMap((counts) => [...counts.subarray(0, worldSize)]);
    };
    this.#chunks.steps(call, piece, longest, {
      give: (step) => {
        for (let to = 0; to < worldSize; to++) {
          if (to === rank) continue;
          const [start, length] = window(call.counts[to] as number, piece, step);
          const from = (starts[to] as number) + start;
          copy(this.#chunks.view(call, rank, 0, to * piece, length), section(input, from, from + length));
        }
      },
      take: (step) => {
        for (let from = 0; from < worldSize; from++) {
          if (from === rank) continue;
          const [start, length] = window(call.receiveCounts[from] as number, piece, step);
          const to = (receiveStarts[from] as number) + start;
          copy(section(output, to, to + length), this.#chunks.view(call, from, 0, rank * piece, length));
        }
      },
    });
  }
}
