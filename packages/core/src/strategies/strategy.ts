/** How a training step is spread over devices. The package `strategies` has the implementations, one file each. */
import type { Accelerator } from '../accelerators/accelerator.ts';
import type { LossOutput } from '../autograd/backward.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import type { Module } from '../modules/module.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { Precision } from '../precision/precision.ts';
import { Registry } from '../registry.ts';
import type { Stateful, StoredState } from '../stateful.ts';

/** What Fabric hands to a strategy at launch. */
export interface StrategyContext {
  readonly accelerator: Accelerator;
  readonly precision: Precision;
  readonly processGroup: ProcessGroup;
}

/** What a strategy is told about a micro-batch. */
export interface BackwardRequest {
  /** Overrides the `items` of what `compute` returns; without either, 1. */
  readonly items?: number;
  /** True for the last micro-batch of an epoch: the window closes after it even if it is not full. */
  readonly endOfEpoch: boolean;
}

/** Options of `fabric.step`. */
export interface StepOptions {
  /** Largest global gradient norm. */
  readonly clipNorm?: number;
  /** Largest absolute value of a gradient's element. */
  readonly clipValue?: number;
  /** Close the window now, whatever it holds. */
  readonly flush?: boolean;
  /** When the window closes, skip its step whatever its gradients are: one of its losses was not finite. */
  readonly discard?: boolean;
}

/** How a strategy clips. */
export interface ClipOptions {
  /** Largest global gradient norm. Exactly one of the two is given. */
  readonly clipNorm?: number;
  readonly clipValue?: number;
  /** Which norm: 2 (default), 1, or Infinity for the largest absolute value. */
  readonly normType?: number;
}

/** What came of a step. */
export interface StepResult {
  /** The window was complete and the optimizer was asked to step. */
  readonly closed: boolean;
  /** False when the step was skipped for gradients that are not finite. */
  readonly stepped: boolean;
  /** Global norm of the gradient (mean over items, unscaled) before clipping; undefined while the window is open. */
  readonly gradientNorm?: number;
  /** Some rank asked to discard the window (`StepOptions.discard`): all ranks skip it. */
  readonly discarded?: boolean;
}

/** What this rank holds, in bytes: for showing what a strategy saves. */
export interface HeldBytes {
  readonly parameters: number;
  readonly gradients: number;
  readonly optimizer: number;
  /** Buffers that gradients and parameters travel in. */
  readonly communication?: number;
}

/**
 * One rule for the size of a step: gradients accumulate as sums over items, and the step divides once by the number of
 * items in the window over all ranks. Its `stateDict` holds an open window (counts and accumulated gradients).
 */
export interface Strategy extends Stateful {
  readonly name: string;
  /** Number of devices and nodes it was made for are checked here. @throws TensorloomError `CONFLICTING_OPTIONS` */
  setup(context: StrategyContext): void;
  /** Places the module: rank zero's parameters go to all ranks, or each rank keeps its shard. */
  setupModule(module: Module): Module | Promise<Module>;
  setupOptimizer(optimizer: Optimizer): Optimizer;
  /** Forward and backward of one micro-batch; adds into the window. The precision's autocast is active inside `compute`. */
  backward<T extends LossOutput>(module: Module, compute: () => T, request: BackwardRequest): T;
  /** Runs `fn` without reduction among ranks. */
  noBackwardSync<T>(module: Module, fn: () => Promise<T> | T): Promise<T>;
  /** Closes the window if it is full (or at the end of an epoch, or flushed): reduce, divide, unscale, clip, check, step, zero. */
  step(optimizer: Optimizer, options: StepOptions): Promise<StepResult>;
  /**
   * Clips ahead of `step`: finishes the gradients of a window that is complete (reduce, divide, unscale; `step` then does
   * none of it again) and clips them. Returns their global norm before clipping, which may not be finite; nothing is clipped then.
   * @throws TensorloomError `MISUSE` if the window stays open
   */
  clipGradients(optimizer: Optimizer, options: ClipOptions): Promise<number>;
  /** Whether the next `step` will close the window. */
  readonly windowWillClose: boolean;

  /**
   * Strategies that communicate in forward: all ranks must run equally many forwards. A rank whose evaluation loader has ended calls
   * this, which takes part in the others' communication until they have ended too. Absent where forwards are this rank's own.
   */
  joinEvaluation?(): Promise<void>;
  /**
   * Lets `write` see the whole module on rank zero, tensor by tensor, whatever each rank holds; on the other ranks it is not called.
   * All ranks call it; if `write` fails, all of them fail. Absent where each rank holds the whole anyway.
   */
  withWholeModule?<T>(module: Module, write: (state: StoredState) => Promise<T>): Promise<T | undefined>;
  /** Bytes held by what was set up with this strategy. */
  heldBytes?(): HeldBytes;
}

/** Options that the user gives with the strategy's name; each factory validates its own and refuses unknown ones. */
export type StrategyOptions = Readonly<Record<string, unknown>>;

/** How a strategy is made, and what it is for. */
export interface StrategyEntry {
  create(options: StrategyOptions): Strategy;
  /** `single`: one device; `multi`: several. */
  readonly reach: 'single' | 'multi';
  readonly summary: string;
}

/** Strategies by name; register your own here. */
export const strategies = new Registry<StrategyEntry>('strategy');
