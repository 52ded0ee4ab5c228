/** A unit of a sharded module: gathers its parameters' whole values together, and frees them together. */
import { Gathering, type GatherContext } from './gathering.ts';
import type { Piece } from './piece.ts';

export class ShardedUnit {
  readonly pieces: Piece[] = [];
  #underway: Gathering | null = null;

  constructor(
    readonly name: string,
    /** Among all units of all modules; its gathers' label. */
    readonly number: number,
    readonly isRoot: boolean,
    readonly context: GatherContext,
  ) {}

  /** Begins to gather, unless that is done or under way. */
  prefetch(): void {
    const missing = this.#missing;
    if (this.#underway === null && missing.length > 0)
      this.#underway = new Gathering(this.context, missing, this.number);
  }

  /** Whole values of all parameters that are used by value; does nothing where they are there. */
  gather(): void {
    this.prefetch();
    const underway = this.#underway;
    this.#underway = null;
    underway?.finish();
  }

  /** Gathers one parameter by itself. */
  gatherOne(piece: Piece): void {
    new Gathering(this.context, [piece], this.number).finish();
  }

  /** Nothing that is used by value is missing. */
  get isGathered(): boolean {
    return this.#missing.length === 0;
  }

  /** Frees whole values. What is under way is waited for. */
  free(): void {
    const underway = this.#underway;
    this.#underway = null;
    underway?.cancel();
    for (const piece of this.pieces) piece.free();
  }

  /** Frees whole values after a failure: what is under way may never end. */
  drop(): void {
    this.#underway = null;
    for (const piece of this.pieces) piece.free();
  }

  /** Of whole values that are there. */
  get gatheredBytes(): number {
    return this.pieces.reduce((sum, { gatheredBytes }) => sum + gatheredBytes, 0);
  }

  /** Trainable parameters whose gradient is dense. */
  get densePieces(): Piece[] {
    return this.pieces.filter(({ byValue, parameter }) => byValue && parameter.requiresGrad);
  }

  /** Trainable tables that are looked up by rows only. */
  get rowPieces(): Piece[] {
    return this.pieces.filter(({ byValue, byRows, parameter }) => byRows && !byValue && parameter.requiresGrad);
  }

  get #missing(): Piece[] {
    return this.pieces.filter(({ byValue, tensor }) => byValue && tensor === null);
  }
}
