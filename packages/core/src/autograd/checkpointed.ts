/** Activation checkpointing (Chen et al., 2016): a part of the model keeps its inputs only, and is computed again when its gradient is. */
import { withSameActivationStorage } from '../precision/activation-storage.ts';
import { globalRandom } from '../random.ts';
import type { Parameter } from '../modules/parameter.ts';
import type { Tensor } from '../tensors.ts';
import { accumulatingOp, type Wanted } from './accumulating-op.ts';
import { freeSaved, isTapeOn, record } from './tape.ts';
import { planWalk, walk } from './walk.ts';

/**
 * `fn(inputs)`, of whose activations only `inputs` are kept until backward, which runs it a second time: in the same activation storage and
 * with the same random numbers (of `globalRandom`), so that results are those of `fn` alone, to the last bit. Without a tape it is `fn`.
 * @param fn synchronous; a function of its `inputs` and of `parameters`: what else it computes with is a constant that must outlive backward
 * @param parameters those that `fn` reads
 */
export function checkpointed<Input extends string>(
  fn: (inputs: Readonly<Record<Input, Tensor>>) => Tensor,
  inputs: Readonly<Record<Input, Tensor>>,
  parameters: readonly Parameter[],
): Tensor {
  if (!isTapeOn()) return fn(inputs);
  const names = Object.keys(inputs) as Input[];
  const random = globalRandom().stateDict();
  const inSameStorage = withSameActivationStorage();
  return accumulatingOp({
    inputs,
    parameters,
    forward(save) {
      save(names.map((name) => inputs[name]));
      const output = fn(inputs);
      return names.some((name) => inputs[name] === output) ? output.clone() : output;
    },
    backward(outputGradient, saved, wanted) {
      const again = Object.fromEntries(names.map((name, i) => [name, saved[i]])) as Record<Input, Tensor>;
      const before = globalRandom().stateDict();
      globalRandom().loadStateDict({ tensors: new Map(), values: random.values });
      try {
        return recomputeAndWalk(() => inSameStorage(() => fn(again)), again, outputGradient, wanted);
      } finally {
        globalRandom().loadStateDict({ tensors: new Map(), values: before.values });
      }
    },
  });
}

/** The walk that led here has its tape behind it, so that another one may be recorded. */
function recomputeAndWalk<Input extends string>(
  fn: () => Tensor,
  inputs: Readonly<Record<Input, Tensor>>,
  outputGradient: Tensor,
  wanted: Wanted<Input>,
): Partial<Record<Input, Tensor>> {
  const { result, tape } = record(fn);
  try {
    const names = (Object.keys(inputs) as Input[]).filter((name) => wanted.inputs.has(name));
    const leaves = names.map((name) => inputs[name]);
    const plan = planWalk(tape, [...wanted.parameters], result, leaves);
    result.dispose();
    const gradients = walk(plan, result, outputGradient.clone());
    return Object.fromEntries(
      names.flatMap((name) => {
        const gradient = gradients.get(inputs[name].id);
        return gradient === undefined ? [] : [[name, releaseToTidy(gradient)]];
      }),
    ) as Partial<Record<Input, Tensor>>;
  } finally {
    tape.forEach(freeSaved);
  }
}

/** The walk's gradients are kept; a clone belongs to the tidy that runs now. */
function releaseToTidy(gradient: Tensor): Tensor {
  const clone = gradient.clone();
  gradient.dispose();
  return clone;
}
