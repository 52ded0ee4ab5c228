/** A module whose parameters are sharded: when its units are gathered, freed and reduced, in forward and backward. */
import { hookForward, type BackwardHooks, type Module, type Parameter, type Tensor } from '@tensorloom/core';
import type { EvaluationTurns, Turn } from './evaluation-turns.ts';
import type { GatherContext } from './gathering.ts';
import { Piece, readOutside, type PieceReader } from './piece.ts';
import { shardValue } from './shard-value.ts';
import { ShardedUnit } from './sharded-unit.ts';
import { gatherRows } from './table-rows.ts';
import { findUnits, type UnitPredicate } from './units.ts';
import { UnitWalk, type UnitReduction } from './unit-walk.ts';

export interface ShardedModuleOptions {
  readonly prefetch: boolean;
  readonly reshardAfterForward: boolean;
  readonly isUnit?: UnitPredicate | undefined;
}

/**
 * Each unit is gathered by one all-gather, and the next one ahead, in the order in which the last forward ran them; the root when
 * something of it is first read, tables that have been looked up by rows excepted. Whatever is read is gathered if it is not there, so
 * that any module computes rightly.
 */
export class ShardedModule implements PieceReader {
  readonly units: ShardedUnit[];
  readonly pieces: readonly Piece[];
  readonly #context: GatherContext;
  readonly #turns: EvaluationTurns;
  readonly #options: ShardedModuleOptions;
  readonly #unitOf = new Map<Parameter, ShardedUnit>();
  readonly #root: ShardedUnit;
  /** Forwards of this module or modules in it that are running, one inside the other. */
  #depth = 0;
  /** Between `beginBackward` and `endBackward`. */
  #inBackward = false;
  #walk: UnitWalk | null = null;
  /** Units in the order in which the last forward ran them, and this one so far. */
  #order: readonly ShardedUnit[] = [];
  #current: ShardedUnit[] = [];

  private constructor(
    readonly module: Module,
    /** Among the strategy's modules. */
    readonly number: number,
    firstUnit: number,
    context: GatherContext,
    turns: EvaluationTurns,
    options: ShardedModuleOptions,
  ) {
    this.#context = context;
    this.#turns = turns;
    this.#options = options;
    const found = findUnits(module, options.isUnit);
    this.units = found.map(({ name }, i) => new ShardedUnit(name, firstUnit + i, name === '', context));
    this.#root = this.units.at(-1) as ShardedUnit;
    this.pieces = [];
    for (const [, each] of module.namedModules())
      hookForward(each, { before: () => this.#enter(), after: () => this.#leave() });
    for (const [i, { module: each, name }] of found.entries())
      if (name !== '') {
        const unit = this.units[i] as ShardedUnit;
        hookForward(each, { before: () => this.#unitBegins(unit), after: () => this.#unitEnds(unit) });
      }
  }

  /**
   * Shards rank zero's values. Of each parameter in turn rank zero's whole value travels, to each rank its rows.
   * @param firstUnit number of its first unit, so that units of all modules have numbers of their own
   */
  static async create(
    module: Module,
    number: number,
    firstUnit: number,
    context: GatherContext,
    turns: EvaluationTurns,
    options: ShardedModuleOptions,
  ): Promise<ShardedModule> {
    const sharded = new ShardedModule(module, number, firstUnit, context, turns, options);
    await sharded.#shardAll(findUnits(module, options.isUnit).map(({ parameters }) => parameters));
    return sharded;
  }

  async #shardAll(members: readonly (readonly Parameter[])[]): Promise<void> {
    for (const [i, parameters] of members.entries())
      for (const parameter of parameters) this.#unitOf.set(parameter, this.units[i] as ShardedUnit);
    for (const parameter of this.module.parameters()) {
      const { partition, shard } = await shardValue(parameter, this.#context);
      const piece = new Piece(parameter, this.pieces.length, partition, shard, this);
      (this.pieces as Piece[]).push(piece);
      this.#unit(piece).pieces.push(piece);
      parameter.shardBy(piece);
    }
    this.copyFlags();
  }

  /** Freezing a parameter freezes its shard. */
  copyFlags(): void {
    for (const { parameter, shard } of this.pieces) if (shard !== null) shard.requiresGrad = parameter.requiresGrad;
  }

  /** Bytes of whole values that are there now. */
  get gatheredBytes(): number {
    return this.units.reduce((sum, unit) => sum + unit.gatheredBytes, 0);
  }

  read(piece: Piece): Tensor {
    this.#checkActive(piece);
    const unit = this.#unit(piece);
    this.#noteUse(unit);
    if (this.#turns.isLed) {
      this.#turns.announce({ kind: 'value', piece: piece.index });
      this.#gatherOne(unit, piece);
    } else if (!piece.byValue) this.#gatherOne(unit, piece);
    else {
      this.#walk?.freeBehind(unit);
      unit.gather();
      if (this.#options.prefetch) this.#walk?.before(unit)?.prefetch();
    }
    piece.wasRead = true;
    return piece.tensor as Tensor;
  }

  readRows(piece: Piece, indices: Int32Array): Float32Array {
    this.#checkActive(piece);
    this.#noteUse(this.#unit(piece));
    this.#turns.announce({ kind: 'rows', piece: piece.index });
    return this.#gatherRows(piece, indices);
  }

  /** Takes part in one forward in evaluation of other ranks. */
  async mirrorForward(): Promise<void> {
    for (;;) {
      const turn: Turn = await this.#turns.hear();
      if (turn.kind === 'end') return;
      const piece = this.pieces[turn.piece] as Piece;
      if (turn.kind === 'rows') this.#gatherRows(piece, new Int32Array(0));
      else {
        this.#gatherOne(this.#unit(piece), piece);
        piece.free();
      }
    }
  }

  /** From here on parameters may be read, and what is gathered may stay for the walk backwards. */
  beginBackward(): void {
    this.copyFlags();
    this.#inBackward = true;
    this.#current = [];
  }

  /** @param reduction takes each unit's gradients as soon as they are complete; null leaves them whole */
  hooks(reduction: UnitReduction | null): BackwardHooks {
    return {
      onWalk: (used) => {
        const unitOf = (parameter: Parameter) => this.#unitOf.get(parameter);
        this.#walk = new UnitWalk(this.units, this.#current, used, unitOf, reduction);
        if (this.#options.prefetch) this.#walk.firstToGather?.prefetch();
      },
      onParameterReady: (parameter) => this.#walk?.ready(parameter),
    };
  }

  /** @param done false if it failed, so that only what is gathered is freed */
  endBackward(done: boolean): void {
    const walk = this.#walk;
    this.#walk = null;
    this.#inBackward = false;
    if (!done) {
      this.#depth = 0;
      for (const unit of this.units) unit.drop();
      return;
    }
    walk?.end();
    this.#order = this.#current;
    this.#freeAll();
  }

  #enter(): void {
    if (this.#depth++ > 0 || this.#inBackward) return;
    this.#current = [];
    this.#turns.begin(this.number);
  }

  #leave(): void {
    if (--this.#depth > 0 || this.#inBackward) return;
    if (!this.#turns.isLed) this.#order = this.#current;
    else this.#turns.announce({ kind: 'end' });
    this.#freeAll();
  }

  #unitBegins(unit: ShardedUnit): void {
    const place = this.#current.length;
    this.#current.push(unit);
    if (this.#turns.isLed) return;
    unit.gather();
    const next = this.#order[place] === unit ? this.#order[place + 1] : undefined;
    if (this.#options.prefetch && next !== undefined && !next.isRoot) next.prefetch();
  }

  #unitEnds(unit: ShardedUnit): void {
    if (this.#inBackward) {
      if (!this.#options.reshardAfterForward) return;
      // The last one is the first that the walk backwards needs.
      if (this.#order.length === this.#current.length && this.#order.at(-1) === unit) return;
    }
    unit.free();
  }

  /** Units that are used without their own forward have a place in the order too. */
  #noteUse(unit: ShardedUnit): void {
    if (!unit.isRoot && this.#walk === null && !this.#current.includes(unit)) this.#current.push(unit);
  }

  /** It belongs to those that are gathered with their unit from then on. */
  #gatherOne(unit: ShardedUnit, piece: Piece): void {
    piece.byValue = piece.wasRead = true;
    unit.gatherOne(piece);
  }

  #gatherRows(piece: Piece, indices: Int32Array): Float32Array {
    // A table that is looked up by rows lives in host memory.
    const own = piece.shard === null || piece.shard.pinnedToDevice ? piece.shardData() : piece.shard.hostData();
    piece.byRows = true;
    if (!piece.wasRead) {
      piece.byValue = false;
      piece.free();
    }
    return gatherRows(this.#context.group, piece.partition, own, indices, this.#context);
  }

  #freeAll(): void {
    for (const unit of this.units) unit.free();
  }

  #unit(piece: Piece): ShardedUnit {
    return this.#unitOf.get(piece.parameter) ?? this.#root;
  }

  #checkActive(piece: Piece): void {
    if (this.#depth === 0 && !this.#inBackward) throw readOutside(piece, this.#context.group.worldSize);
  }
}
