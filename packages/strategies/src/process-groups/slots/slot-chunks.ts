/** Chunks of a collective's data in the slots: where they lie, when ranks meet over them, how they are folded. */
import { bytesPerElement, viewOf, type CollectiveArray, type ReduceOp } from '@tensorloom/core/distributed';
import { describeCall, type CollectiveCall } from '../collective-call.ts';
import { reduceInto, scaleToMean } from '../reduce.ts';
import type { Segment } from './segment.ts';
import type { SlotAgreement } from './slot-agreement.ts';

export class SlotChunks {
  /** Chunks so far: which slot is next. The same on all ranks. */
  turn = 0;
  readonly #segment: Segment;
  readonly #agreement: SlotAgreement;

  constructor(segment: Segment, agreement: SlotAgreement) {
    this.#segment = segment;
    this.#agreement = agreement;
  }

  /** Chunk by chunk: give, meet, take. At least one meeting, in which the calls are compared. */
  steps(
    call: CollectiveCall,
    piece: number,
    counts: readonly number[] | (() => readonly number[]),
    { give, take }: { readonly give: (step: number) => void; readonly take: (step: number) => void },
  ): void {
    for (let step = 0, steps = 1; step < steps; step++) {
      give(step);
      this.meet(call, step === 0);
      if (step === 0) steps = Math.ceil(Math.max(0, ...(typeof counts === 'function' ? counts() : counts)) / piece);
      take(step);
      this.turn++;
    }
  }

  /** Folds all ranks' parts into `own`, which holds this rank's, in the order of ranks; divides for the mean. */
  fold(call: CollectiveCall, own: CollectiveArray, part: (from: number) => CollectiveArray, op: ReduceOp): void {
    const { rank, worldSize } = this.#segment;
    // The ranks before this one are summed up in the first one's slot: nobody else reads this part of it.
    if (rank > 0) {
      const first = part(0);
      for (let from = 1; from < rank; from++) reduceInto(first, part(from), op, call.elementType);
      reduceInto(own, first, op, call.elementType);
    }
    for (let from = rank + 1; from < worldSize; from++) reduceInto(own, part(from), op, call.elementType);
    if (op === 'mean') scaleToMean(own, worldSize, call.elementType);
  }

  /** Waits for all ranks; at the first meeting of a call they compare what they call. */
  meet(call: CollectiveCall, isFirst: boolean): void {
    this.#segment.meet(call.kind === 'barrier' ? describeCall(call) : call.kind);
    if (isFirst) this.#agreement.compare();
  }

  /** Elements in a slot. */
  capacity(call: CollectiveCall): number {
    return Math.floor(this.#segment.layout.slotBytes / bytesPerElement(call.elementType));
  }

  /** Elements `start .. start + length` of a rank's slot of the chunk `ahead` of the current one. */
  view(call: CollectiveCall, rank: number, ahead: number, start: number, length: number): CollectiveArray {
    const { layout, memory } = this.#segment;
    const at = layout.slot(rank, this.turn + ahead) + start * bytesPerElement(call.elementType);
    return viewOf(call.elementType, memory.buffer, at, length);
  }
}
