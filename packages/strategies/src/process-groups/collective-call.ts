/** One collective as data: what a process group hands to whatever moves the bytes. */
import { TensorloomError, type CollectiveArray, type ElementType, type ReduceOp } from '@tensorloom/core/distributed';

export type CollectiveKind =
  | 'all-reduce'
  | 'reduce-scatter'
  | 'all-gather'
  | 'broadcast'
  | 'gather'
  | 'scatter'
  | 'all-to-all'
  | 'send'
  | 'receive'
  | 'barrier';

/** A checked call: lengths, types and ranks fit this rank's own arguments; whether they fit the others' is found when it runs. */
export interface CollectiveCall {
  readonly kind: CollectiveKind;
  /** What this rank gives. For calls that work in place it is the same array as `output`. */
  readonly input: CollectiveArray | null;
  /** Where the result goes. */
  readonly output: CollectiveArray | null;
  readonly elementType: ElementType;
  /** Of reductions. */
  readonly op: ReduceOp | null;
  /** Source, destination or peer; -1 where the call has none. */
  readonly peer: number;
  readonly tag: number;
  /** Elements of each rank's part: of the output for reduce-scatter and scatter, of the input for gathers, sent for all-to-all. */
  readonly counts: readonly number[];
  /** Of all-to-all: elements received from each rank. */
  readonly receiveCounts: readonly number[];
  /** Of a barrier, for messages. */
  readonly name: string;
}

/**
 * What all ranks must agree on, as text that is compared and shown: `all-reduce sum float32[100]`. All-to-all has no counts in it:
 * they differ by rank, and each pair checks its own.
 */
export function describeCall(call: CollectiveCall): string {
  const { kind, op, elementType, peer, counts, name } = call;
  if (kind === 'barrier') return name === '' ? 'barrier' : `barrier '${name}'`;
  const sum = counts.reduce((total, count) => total + count, 0);
  const even = counts.every((count) => count === counts[0]);
  const size = kind === 'all-to-all' ? '' : even ? `[${sum}]` : `[${counts.join('+')}]`;
  const from =
    kind === 'broadcast' || kind === 'scatter' ? ` from rank ${peer}` : kind === 'gather' ? ` to rank ${peer}` : '';
  return `${kind} ${op === null ? '' : `${op} `}${elementType}${size}${from}`;
}

/** @param calls what each rank called, by rank in its group */
export function mismatch(calls: ReadonlyMap<number, string>): TensorloomError {
  const ranksByCall = new Map<string, number[]>();
  for (const [rank, call] of calls) ranksByCall.set(call, [...(ranksByCall.get(call) ?? []), rank]);
  const told = [...ranksByCall].map(
    ([call, ranks]) => `rank${ranks.length > 1 ? 's' : ''} ${ranks.join(', ')} called ${call}`,
  );
  return new TensorloomError(
    'COLLECTIVE_MISMATCH',
    `The ranks called different collectives: ${told.join('; ')}. All ranks of a process group must make the same calls in the same order.`,
  );
}
