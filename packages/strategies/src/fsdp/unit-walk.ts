/** Follows the walk backwards through a sharded module: which units are complete, when they are freed and reduced. */
import type { Parameter } from '@tensorloom/core';
import type { GradientScatter } from './gradient-scatter.ts';
import type { ShardedUnit } from './sharded-unit.ts';

/** Where complete gradients go. */
export interface UnitReduction {
  readonly scatter: GradientScatter;
  /** Items of all ranks that the gradients are sums over; known once forward has run. */
  readonly items: () => number;
}

/**
 * Units are reduced in the reverse of the order in which forward ran them, the root last, whatever becomes complete first: the order
 * must be the same on all ranks, and which parameters a loss depends on may not be.
 */
export class UnitWalk {
  readonly #sequence: readonly ShardedUnit[];
  readonly #place: ReadonlyMap<ShardedUnit, number>;
  readonly #queue: ShardedUnit[];
  readonly #left: Map<ShardedUnit, number>;
  readonly #unitOf: (parameter: Parameter) => ShardedUnit | undefined;
  readonly #reduction: UnitReduction | null;

  /**
   * @param units of the module, the root last
   * @param ran in the order of forward
   * @param used trainable parameters that the loss depends on
   * @param reduction null leaves gradients whole
   */
  constructor(
    units: readonly ShardedUnit[],
    ran: readonly ShardedUnit[],
    used: ReadonlySet<Parameter>,
    unitOf: (parameter: Parameter) => ShardedUnit | undefined,
    reduction: UnitReduction | null,
  ) {
    // Of units that ran several times, the last run counts: there the walk backwards comes first.
    this.#sequence = ran.filter((unit, i) => ran.lastIndexOf(unit) === i);
    this.#place = new Map(this.#sequence.map((unit, i) => [unit, i]));
    this.#queue = [...[...this.#sequence].reverse(), ...units.filter((unit) => unit.isRoot)];
    this.#left = new Map(units.map((unit) => [unit, 0]));
    for (const parameter of used) {
      const unit = unitOf(parameter);
      if (unit !== undefined) this.#left.set(unit, (this.#left.get(unit) as number) + 1);
    }
    this.#unitOf = unitOf;
    this.#reduction = reduction;
  }

  /** A parameter's gradient is complete. */
  ready(parameter: Parameter): void {
    const unit = this.#unitOf(parameter);
    if (unit === undefined) return;
    const left = (this.#left.get(unit) as number) - 1;
    this.#left.set(unit, left);
    if (left > 0) return;
    unit.free();
    while (this.#queue.length > 0 && this.#left.get(this.#queue[0] as ShardedUnit) === 0)
      this.#reduce(this.#queue.shift() as ShardedUnit);
  }

  /** The unit that the walk will need first of those that are not there; the last that ran is, if it was kept. */
  get firstToGather(): ShardedUnit | undefined {
    return this.#sequence.findLast((unit) => !unit.isGathered);
  }

  /** The unit that the walk comes to after `unit`. */
  before(unit: ShardedUnit): ShardedUnit | undefined {
    const place = this.#place.get(unit);
    return place === undefined ? undefined : this.#sequence[place - 1];
  }

  /** Frees units behind `unit` that are complete: frozen parameters may have been read again after the others were. */
  freeBehind(unit: ShardedUnit): void {
    const place = this.#place.get(unit);
    if (place === undefined) return;
    for (const behind of this.#sequence.slice(place + 1)) if (this.#left.get(behind) === 0) behind.free();
  }

  /** The walk is over: reduces what is left. */
  end(): void {
    for (const unit of this.#queue.splice(0)) {
      unit.free();
      this.#reduce(unit);
    }
  }

  #reduce(unit: ShardedUnit): void {
    if (this.#reduction === null) return;
    const { scatter, items } = this.#reduction;
    scatter.start(unit.densePieces, items());
    for (const piece of unit.rowPieces) scatter.exchange(piece, items());
  }
}
