/** The backward walk over a recorded tape. */
import type { Gradient, Parameter } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';
import { accumulateGradient } from './accumulate.ts';
import { differentiate } from './differentiate.ts';
import { RowSparse } from './row-sparse.ts';
import { freeSaved, type TapeNode } from './tape.ts';

/** A node that leads from a parameter to the loss, with the names of those of its inputs that depend on a parameter. */
interface Step {
  readonly node: TapeNode;
  readonly inputs: readonly string[];
}

export interface WalkPlan {
  readonly steps: readonly Step[];
  /** How often each parameter that the loss depends on is used on the way to it. */
  readonly uses: ReadonlyMap<Parameter, number>;
  /** Parameter by id of a tensor that stands for it. */
  readonly parameterOf: ReadonlyMap<number, Parameter>;
  /** Ids of the other tensors whose gradients are wanted. */
  readonly inputs: readonly number[];
}

/**
 * Picks the nodes between the parameters and the loss and frees at once what the others saved.
 * @param inputs other tensors whose gradients are wanted
 */
export function planWalk(
  tape: readonly TapeNode[],
  parameters: readonly Parameter[],
  loss: Tensor,
  inputs: readonly Tensor[] = [],
): WalkPlan {
  const parameterOf = new Map(
    parameters.flatMap((parameter) => parameter.tapeIds.map((id) => [id, parameter] as const)),
  );

  const fromParameters = new Set([...parameterOf.keys(), ...inputs.map(({ id }) => id)]);
  for (const node of tape)
    if (Object.values(node.inputs).some((input) => input !== undefined && fromParameters.has(input.id)))
      for (const output of node.outputs) fromParameters.add(output.id);

  const toLoss = new Set([loss.id]);
  const steps: Step[] = [];
  const uses = new Map<Parameter, number>();
  for (const node of [...tape].reverse()) {
    const names = Object.entries(node.inputs).flatMap(([name, input]) =>
      input !== undefined && fromParameters.has(input.id) ? [name] : [],
    );
    if (names.length === 0 || !node.outputs.some((output) => toLoss.has(output.id))) {
      freeSaved(node);
      continue;
    }
    for (const name of names) {
      const { id } = node.inputs[name] as Tensor;
      toLoss.add(id);
      const parameter = parameterOf.get(id);
      if (parameter !== undefined) uses.set(parameter, (uses.get(parameter) ?? 0) + 1);
    }
    steps.push({ node, inputs: names });
  }
  return { steps, uses, parameterOf, inputs: inputs.map(({ id }) => id) };
}

/**
 * Walks `plan` from the loss; `plan`'s saved tensors are freed node by node, on failure the caller frees the rest.
 * @param outputGradient of the loss; owned by the walk
 * @returns gradients of the plan's inputs by id, kept and owned by the caller; none of those that the loss does not depend on
 */
export function walk(
  plan: WalkPlan,
  loss: Tensor,
  outputGradient: Tensor,
  onParameterReady?: (parameter: Parameter) => void,
): ReadonlyMap<number, Tensor> {
  const usesLeft = new Map(plan.uses);
  const gradients = new Map<number, Tensor>([[loss.id, tf.keep(outputGradient)]]);
  try {
    for (const { node, inputs } of plan.steps) {
      const outputGradients = node.outputs.map((output) => take(gradients, output.id));
      if (outputGradients.some((gradient) => gradient !== null)) {
        const results = differentiate(node, inputs, outputGradients);
        for (const [name, gradient] of results) {
          const { id } = node.inputs[name] as Tensor;
          const parameter = plan.parameterOf.get(id);
          if (parameter !== undefined) accumulateGradient(parameter, gradient);
          else addDense(gradients, id, gradient, node);
        }
      }
      for (const name of inputs) {
        const parameter = plan.parameterOf.get((node.inputs[name] as Tensor).id);
        if (parameter === undefined) continue;
        const left = (usesLeft.get(parameter) as number) - 1;
        usesLeft.set(parameter, left);
        if (left === 0) onParameterReady?.(parameter);
      }
    }
    return new Map(
      plan.inputs.flatMap((id) => {
        const gradient = take(gradients, id);
        return gradient === null ? [] : [[id, gradient] as const];
      }),
    );
  } finally {
    for (const gradient of gradients.values()) gradient.dispose();
  }
}

function addDense(gradients: Map<number, Tensor>, id: number, gradient: Gradient, node: TapeNode): void {
  if (gradient instanceof RowSparse)
    throw new Error(
      `The operation ${node.kernelName} gave a row-sparse gradient for something that is not a parameter.`,
    );
  const previous = gradients.get(id);
  if (previous === undefined) {
    gradients.set(id, gradient);
    return;
  }
  gradients.set(id, tf.keep(tf.add(previous, gradient)));
  previous.dispose();
  gradient.dispose();
}

function take(gradients: Map<number, Tensor>, id: number): Tensor | null {
  const gradient = gradients.get(id) ?? null;
  gradients.delete(id);
  return gradient;
}
