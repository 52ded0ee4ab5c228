/** Operations that add gradients of parameters into `grad` themselves, many at once, without tensors in between. */
import type { Parameter } from '../modules/parameter.ts';
import type { Tensor } from '../tensors.ts';
import { added, isTapeOn, recordOp } from './tape.ts';

/** Of what gradients are asked for. */
export interface Wanted<Input extends string> {
  readonly inputs: ReadonlySet<Input>;
  /** Not those that are frozen or take no part. */
  readonly parameters: ReadonlySet<Parameter>;
}

/** A forward that may save tensors, and a backward that gets them back. Both read parameters' values when they run: sharded ones may be gone in between. */
export interface AccumulatingOp<Input extends string> {
  readonly inputs: Readonly<Record<Input, Tensor>>;
  /** Parameters that it reads. */
  readonly parameters: readonly Parameter[];
  /** Runs in a tidy of its own; what it does is not recorded. @param recording whether there will be a backward; else nothing is saved */
  forward(save: (tensors: readonly Tensor[]) => void, recording: boolean): Tensor;
  /**
   * Runs once, in a tidy. Adds the gradients of the parameters that are wanted into their `grad`, and returns those of the inputs that are
   * wanted; one that it leaves out is zero.
   */
  backward(
    outputGradient: Tensor,
    saved: readonly Tensor[],
    wanted: Wanted<Input>,
  ): Readonly<Partial<Record<Input, Tensor>>>;
}

/**
 * Applies such an operation, recording it when a tape is on. Parameters become ready (`BackwardOptions.onParameterReady`) after its
 * backward. It can be differentiated by `backward` only, not by `tf.grads`.
 */
export function accumulatingOp<Input extends string>(op: AccumulatingOp<Input>): Tensor {
  const names = Object.keys(op.inputs) as Input[];
  const recording = isTapeOn();
  // A parameter's handle stands for its value: that may be sharded, and is never looked at here.
  const byName = new Map(op.parameters.map((parameter, i) => [`parameter ${i}`, parameter]));
  const handles = Object.fromEntries([...byName].map(([name, parameter]) => [name, parameter.tapeHandle]));
  return recordOp({
    inputs: { ...op.inputs, ...handles },
    forward: (save) => op.forward(save, recording),
    backward(outputGradient, saved, needed) {
      const isNeeded = new Set(needed);
      const gradients = op.backward(outputGradient, saved, {
        inputs: new Set(names.filter((name) => isNeeded.has(name))),
        parameters: new Set([...byName].flatMap(([name, parameter]) => (isNeeded.has(name) ? [parameter] : []))),
      });
      return Object.fromEntries(
        needed.map((name) => [name, () => (byName.has(name) ? added : (gradients[name as Input] ?? added))]),
      );
    },
  });
}
