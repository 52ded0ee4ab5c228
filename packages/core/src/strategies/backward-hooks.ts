/** What a strategy may watch of a micro-batch's backward. */
import type { Parameter } from '../modules/parameter.ts';

/** What a strategy does while a micro-batch is added. */
export interface BackwardHooks {
  /** After forward, ahead of the walk backwards: the items of the window with this micro-batch. */
  readonly onItems?: (items: number) => void;
  /** As `backward`'s. */
  readonly onWalk?: (used: ReadonlySet<Parameter>) => void;
  /** As `backward`'s. */
  readonly onParameterReady?: (parameter: Parameter) => void;
}
