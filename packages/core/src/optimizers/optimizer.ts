/** Base class of optimizers: parameter groups, state by parameter name, state dicts. One algorithm per file beside this one. */
import { RowSparse } from '../autograd/row-sparse.ts';
import { TensorloomError } from '../errors.ts';
import { Parameter } from '../modules/parameter.ts';
import type { JsonObject, LoadOptions, StateDict, Stateful, StoredState } from '../stateful.ts';
import { type Tensor } from '../tensors.ts';
import { scaleGradients } from './gradients.ts';
import { readOptimizerState } from './optimizer-state.ts';
import { ParameterState } from './parameter-state.ts';
import { roundRows } from './round-rows.ts';

/** Parameters that share hyper-parameters. */
export interface ParameterGroup {
  /** Strategies that shard put each rank's shards here (`Optimizer.replaceParameters`). */
  parameters: readonly Parameter[];
  lr: number;
  weightDecay: number;
}

/** Parameters alone, or groups of them with hyper-parameters of their own. */
export type ParameterGroups<Options> =
  Iterable<Parameter> | readonly ({ parameters: Iterable<Parameter> } & Partial<Options>)[];

/** What one update of one parameter needs. Moments come in the order of `momentNames`. */
export interface DenseUpdate {
  readonly parameter: Parameter;
  readonly gradient: Tensor;
  readonly state: ParameterState;
  /** 1 for the first update of this parameter. */
  readonly step: number;
  /** What the gradient is still to be multiplied with: 1 unless the optimizer `scalesGradients`. */
  readonly gradientScale: number;
}

/** What one update of a table by a row-sparse gradient needs. */
export interface RowUpdate {
  readonly parameter: Parameter;
  readonly gradient: RowSparse;
  readonly state: ParameterState;
  readonly step: number;
  readonly gradientScale: number;
}

/**
 * A subclass says which moments it keeps and how one parameter is updated. Dense parameters are updated on the device.
 * Tables whose gradient is row-sparse are updated in host memory (see `Parameter`), a row at a time, with the same result.
 */
export abstract class Optimizer<Group extends ParameterGroup = ParameterGroup> implements Stateful {
  readonly groups: readonly Group[];
  protected abstract readonly momentNames: readonly string[];
  readonly #states = new Map<Parameter, ParameterState>();
  /** Names of parameters that were replaced by none. */
  readonly #elsewhere = new Set<string>();

  /** @throws TensorloomError `BAD_OPTION` for hyper-parameters out of range, `MISUSE` without parameters or with one given twice */
  constructor(groups: readonly Group[]) {
    this.groups = groups;
    const seen = new Set<Parameter>();
    for (const parameter of this.parameters) {
      if (seen.has(parameter))
        throw new TensorloomError(
          'MISUSE',
          `Parameter ${parameter.name || '(unnamed)'} was given to the optimizer twice.`,
        );
      seen.add(parameter);
    }
    if (seen.size === 0)
      throw new TensorloomError('MISUSE', 'An optimizer needs at least one parameter; none was given.');
  }

  /** Whether updates multiply gradients with `gradientScale` on the way, which saves a pass over them. */
  protected readonly scalesGradients: boolean = false;
  protected abstract updateDense(update: DenseUpdate, group: Group): void;
  protected abstract updateRows(update: RowUpdate, group: Group): void;

  get parameters(): Parameter[] {
    return this.groups.flatMap((group) => [...group.parameters]);
  }

  /** Learning rate of the first group. */
  get lr(): number {
    return this.groups[0]?.lr ?? 0;
  }

  /**
   * Puts other parameters in the place of this optimizer's: shards, of which a rank may have none (`null`), so that the group, or the
   * whole optimizer, may be left empty. Names are carried over; keys that are not this optimizer's are passed over.
   * @throws TensorloomError `MISUSE` once a parameter has state, or if a parameter would come twice; nothing is changed then
   */
  replaceParameters(replacements: ReadonlyMap<Parameter, Parameter | null>): void {
    if (this.#states.size > 0)
      throw new TensorloomError(
        'MISUSE',
        'The parameters of an optimizer that has state (it has stepped, or its state was loaded) cannot be replaced. Set it up first.',
      );
    const next = this.groups.map(({ parameters }) =>
      parameters.flatMap((parameter) => {
        const replacement = replacements.get(parameter);
        return replacement === undefined ? [parameter] : replacement === null ? [] : [replacement];
      }),
    );
    const all = next.flat();
    if (new Set(all).size !== all.length)
      throw new TensorloomError('MISUSE', 'Two parameters of an optimizer cannot be replaced by the same one.');
    // Names first: a nameless parameter goes by its place, which removing others would change.
    for (const [place, parameter] of this.parameters.entries()) {
      parameter.name ||= String(place);
      const replacement = replacements.get(parameter);
      if (replacement) replacement.name = parameter.name;
      else if (replacement === null) this.#elsewhere.add(parameter.name);
    }
    for (const [i, parameters] of next.entries()) (this.groups[i] as Group).parameters = parameters;
  }

  /**
   * One update from the gradients times `gradientScale` (`Fabric.step` divides, unscales and clips with it). Parameters without a
   * gradient stay. What the gradients are afterwards is not defined: zero them.
   */
  step({ gradientScale = 1 }: { readonly gradientScale?: number } = {}): void {
    if (!this.scalesGradients) scaleGradients(this.parameters, gradientScale);
    const scale = this.scalesGradients ? gradientScale : 1;
    for (const group of this.groups)
      for (const parameter of group.parameters) {
        const { grad } = parameter;
        if (grad === null || !parameter.requiresGrad) continue;
        const state = this.#stateOf(parameter);
        const step = ++state.steps;
        if (grad instanceof RowSparse && state.canUpdateRows) {
          state.lastRows = grad.indices;
          this.updateRows({ parameter, gradient: grad, state, step, gradientScale: scale }, group);
          this.#roundMovedRows(parameter);
          continue;
        }
        const gradient = grad instanceof RowSparse ? grad.toDense() : grad;
        parameter.pinToDevice();
        this.updateDense({ parameter, gradient, state, step, gradientScale: scale }, group);
        if (gradient !== grad) gradient.dispose();
      }
  }

  /** Rows of a table that the last step may have changed, in no order; null if it may have been any. */
  movedRows(parameter: Parameter): Int32Array | null {
    const group = this.groups.find(({ parameters }) => parameters.includes(parameter));
    const state = this.#states.get(parameter);
    if (state === undefined || group === undefined) return new Int32Array(0);
    // Decay moves every row, momentum every row that has ever had a gradient.
    if (group.weightDecay !== 0 || !state.canUpdateRows) return null;
    return this.momentNames.length === 0 ? state.lastRows : state.rows.visited;
  }

  #roundMovedRows(parameter: Parameter): void {
    const { storage } = parameter;
    if (storage === 'float32') return;
    const rows = this.movedRows(parameter);
    parameter.updateOnHost((table) => roundRows(table, parameter.shape[1] as number, rows, storage));
  }

  zeroGrad(): void {
    for (const parameter of this.parameters) parameter.zeroGrad();
  }

  /**
   * Tensors: `NAME.MOMENT`, of the parameter's shape, or, for a table with row-sparse gradients, `[count, width]` with the
   * row numbers in `NAME.rows` (int32 `[count]`, in the whole table). Values: `steps` by parameter name and the groups'
   * hyper-parameters. Those of parameters that are shards are named in `shards`. The tensors are valid until the next step.
   */
  stateDict(): StateDict {
    const tensors: Record<string, Tensor> = {};
    const shards = new Set<string>();
    const steps: JsonObject = {};
    for (const [name, parameter] of this.#named()) {
      const state = this.#states.get(parameter);
      if (state === undefined) continue;
      steps[name] = state.steps;
      for (const [key, tensor] of Object.entries(state.tensors())) {
        tensors[`${name}.${key}`] = tensor;
        if (parameter.isRows) shards.add(`${name}.${key}`);
      }
    }
    const groups = this.groups.map(({ parameters, ...options }) => ({
      ...(structuredClone(options) as JsonObject),
      parameters: parameters.map((parameter) => this.#nameOf(parameter)),
    }));
    return { tensors, values: { steps, groups }, ...(shards.size > 0 && { shards }) };
  }

  /**
   * Tensors in `stored` are whole; shards read their own rows.
   * @throws TensorloomError `BAD_CHECKPOINT` naming everything that does not fit; nothing is changed then
   */
  loadStateDict(stored: StoredState, options: LoadOptions = {}): void {
    const { states, groups } = readOptimizerState(stored, {
      parameters: this.#named(),
      elsewhere: this.#elsewhere,
      momentNames: this.momentNames,
      groups: this.groups,
      strict: options.strict ?? true,
    });
    for (const state of this.#states.values()) state.dispose();
    this.#states.clear();
    for (const [parameter, create] of states) this.#states.set(parameter, create());
    for (const [i, values] of groups.entries()) Object.assign(this.groups[i] as Group, values);
  }

  /** Bytes of all moments, with the room that tables keep for more rows. */
  get stateBytes(): number {
    return [...this.#states.values()].reduce((sum, state) => sum + state.bytes, 0);
  }

  /** Frees moments. */
  dispose(): void {
    for (const state of this.#states.values()) state.dispose();
    this.#states.clear();
  }

  #stateOf(parameter: Parameter): ParameterState {
    let state = this.#states.get(parameter);
    if (state === undefined) this.#states.set(parameter, (state = new ParameterState(parameter, this.momentNames)));
    return state;
  }

  #nameOf(parameter: Parameter): string {
    return parameter.name || String(this.parameters.indexOf(parameter));
  }

  #named(): Map<string, Parameter> {
    const named = new Map(this.parameters.map((parameter) => [this.#nameOf(parameter), parameter]));
    if (named.size !== this.parameters.length)
      throw new TensorloomError(
        'MISUSE',
        'Two parameters of this optimizer have the same name, so its state cannot be told apart. Take both from one root module.',
      );
    return named;
  }
}

/**
 * Groups with every hyper-parameter filled in: from the group, else from `options`, else from `defaults`.
 * @param check returns what is wrong with a group's values, or null
 */
export function parameterGroups<Options extends { lr: number; weightDecay: number }>(
  given: ParameterGroups<Options>,
  options: Partial<Options>,
  defaults: Options,
  check: (options: Options) => string | null,
): (Options & ParameterGroup)[] {
  const elements = [...(given as Iterable<Parameter | ({ parameters: Iterable<Parameter> } & Partial<Options>)>)];
  const loose = elements.filter((element) => element instanceof Parameter);
  if (loose.length > 0 && loose.length < elements.length)
    throw new TensorloomError(
      'MISUSE',
      'An optimizer takes either parameters or groups of parameters, not a mixture of both.',
    );
  const groups = loose.length > 0 ? [{ parameters: loose }] : (elements as { parameters: Iterable<Parameter> }[]);
  return groups.map((group) => {
    const filled = { ...defaults, ...options, ...group, parameters: [...group.parameters] } as Options & ParameterGroup;
    const problem = check(filled);
    if (problem !== null) throw new TensorloomError('BAD_OPTION', problem);
    return filled;
  });
}

/** What is wrong with hyper-parameters that all optimizers have, or null. */
export function checkCommonOptions({ lr, weightDecay }: { lr: number; weightDecay: number }): string | null {
  if (!(lr >= 0 && Number.isFinite(lr))) return `The learning rate (lr) is ${lr}; it must be a number of at least 0.`;
  if (!(weightDecay >= 0 && Number.isFinite(weightDecay)))
    return `weightDecay is ${weightDecay}; it must be a number of at least 0.`;
  return null;
}
