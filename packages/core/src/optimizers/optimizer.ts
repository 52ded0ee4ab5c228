/** Base class of optimizers: parameter groups, state by parameter name, state dicts. One algorithm per file beside this one. */
import type { Parameter } from '../modules/parameter.ts';
import type { LoadOptions, StateDict, Stateful, StoredState } from '../stateful.ts';

/** Parameters that share hyper-parameters. */
export interface ParameterGroup {
  readonly parameters: readonly Parameter[];
  lr: number;
  weightDecay: number;
}

/** Parameters alone, or groups of them with hyper-parameters of their own. */
export type ParameterGroups<Options> = Iterable<Parameter> | readonly ({ parameters: Iterable<Parameter> } & Partial<Options>)[];

export abstract class Optimizer implements Stateful {
  abstract readonly groups: readonly ParameterGroup[];
  /** One update from the gradients as they are (`Fabric.step` has divided, unscaled and clipped them). Parameters without a gradient stay. */
  abstract step(): void;
  abstract stateDict(): StateDict;
  abstract loadStateDict(state: StoredState, options?: LoadOptions): void;
  /** Frees moments. */
  abstract dispose(): void;

  get parameters(): Parameter[] {
    return this.groups.flatMap((group) => [...group.parameters]);
  }

  /** Learning rate of the first group. */
  get lr(): number {
    return this.groups[0]?.lr ?? 0;
  }

  zeroGrad(): void {
    for (const parameter of this.parameters) parameter.zeroGrad();
  }
}
