/** Lets ranks whose evaluation has ended take part in the gathers of those that still evaluate. */
import { TensorloomError, type ProcessGroup } from '@tensorloom/core';

/** What a rank that still evaluates is about to gather. */
export type Turn =
  | { readonly kind: 'value'; readonly piece: number }
  | { readonly kind: 'rows'; readonly piece: number }
  | { readonly kind: 'end' };

const CODES = { end: 0, value: 1, rows: 2 } as const;
const NONE = 0;

/**
 * Each forward in evaluation begins with a small all-gather of who is still active, and in which module. While all are, nothing more is
 * said. Once some have ended, the first active rank announces each gather, and the others join in.
 */
export class EvaluationTurns {
  readonly #group: ProcessGroup;
  /** The rank that announces; null while all ranks run their own forward. */
  #speaker: number | null = null;

  constructor(group: ProcessGroup) {
    this.#group = group;
  }

  /** Gathers are announced: the caller makes them one parameter at a time, and none ahead. */
  get isLed(): boolean {
    return this.#speaker !== null;
  }

  /** A forward begins. @param module its number @throws TensorloomError `COLLECTIVE_MISMATCH` if ranks evaluate different modules */
  begin(module: number): void {
    const { worldSize } = this.#group;
    if (worldSize === 1) return;
    const told = new Int32Array(worldSize);
    this.#group.allGather(Int32Array.of(module + 1), told).waitSync();
    this.#speaker = this.#speakerOf(told);
  }

  /** The next gather. */
  announce(turn: Turn): void {
    if (this.#speaker === null) return;
    const code = Int32Array.of(CODES[turn.kind], turn.kind === 'end' ? 0 : turn.piece);
    const heard = code.slice();
    this.#group.broadcast(heard, this.#speaker).waitSync();
    if (heard[0] !== code[0] || heard[1] !== code[1])
      throw new TensorloomError(
        'COLLECTIVE_MISMATCH',
        `Ranks ${this.#speaker} and ${this.#group.rank} run different modules in evaluation. With fsdp all ranks must run the same modules in the same order.`,
      );
    if (turn.kind === 'end') this.#speaker = null;
  }

  /** This rank has ended. @returns the number of the module that others run now, or null if all have ended */
  async join(): Promise<number | null> {
    const told = new Int32Array(this.#group.worldSize);
    await this.#group.allGather(Int32Array.of(NONE), told);
    this.#speaker = this.#speakerOf(told);
    return this.#speaker === null ? null : (told[this.#speaker] as number) - 1;
  }

  /** What the ranks that still evaluate gather next. */
  async hear(): Promise<Turn> {
    const code = new Int32Array(2);
    await this.#group.broadcast(code, this.#speaker as number);
    const [kind, piece] = code as unknown as [number, number];
    if (kind === CODES.value) return { kind: 'value', piece };
    if (kind === CODES.rows) return { kind: 'rows', piece };
    this.#speaker = null;
    return { kind: 'end' };
  }

  #speakerOf(told: Int32Array): number | null {
    const active = [...told.keys()].filter((rank) => told[rank] !== NONE);
    if (new Set(active.map((rank) => told[rank])).size > 1)
      throw new TensorloomError(
        'COLLECTIVE_MISMATCH',
        `Ranks evaluate different modules at once. With fsdp all ranks must run the same modules in the same order.`,
      );
    return active.length === told.length ? null : (active[0] ?? null);
  }
}
