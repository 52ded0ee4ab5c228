/** The backward walk over a recorded tape. */
import { TensorloomError } from '../errors.ts';
import type { Gradient, Parameter } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';
import { accumulateGradient } from './accumulate.ts';
import { RowSparse } from './row-sparse.ts';
import { activeScopeId, freeSaved, gradientsOf, type TapeNode } from './tape.ts';

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
}

/** Picks the nodes between the parameters and the loss and frees at once what the others saved. */
export function planWalk(tape: readonly TapeNode[], parameters: readonly Parameter[], loss: Tensor): WalkPlan {
  const parameterOf = new Map(
    parameters.flatMap((parameter) => parameter.tapeIds.map((id) => [id, parameter] as const)),
  );

  const fromParameters = new Set(parameterOf.keys());
  for (const node of tape)
    if (Object.values(node.inputs).some((input) => input !== undefined && fromParameters.has(input.id)))
      for (const output of node.outputs) fromParameters.add(output.id);

  const toLoss = new Set([loss.id]);
  const steps: Step[] = [];
  const uses = new Map<Parameter, number>();
  for (const node of [...tape].reverse()) {
    const inputs = Object.entries(node.inputs).flatMap(([name, input]) =>
      input !== undefined && fromParameters.has(input.id) ? [name] : [],
    );
    if (inputs.length === 0 || !node.outputs.some((output) => toLoss.has(output.id))) {
      freeSaved(node);
      continue;
    }
    for (const name of inputs) {
      const { id } = node.inputs[name] as Tensor;
      toLoss.add(id);
      const parameter = parameterOf.get(id);
      if (parameter !== undefined) uses.set(parameter, (uses.get(parameter) ?? 0) + 1);
    }
    steps.push({ node, inputs });
  }
  return { steps, uses, parameterOf };
}

/** Walks `plan` from the loss; `plan`'s saved tensors are freed node by node, on failure the caller frees the rest. */
export function walk(
  plan: WalkPlan,
  loss: Tensor,
  seed: number,
  onParameterReady?: (parameter: Parameter) => void,
): void {
  const usesLeft = new Map(plan.uses);
  const gradients = new Map<number, Tensor>([[loss.id, tf.keep(tf.scalar(seed, 'float32'))]]);
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
  } finally {
    for (const gradient of gradients.values()) gradient.dispose();
  }
}

/** Gradients of a node's `inputs`, kept and each owned by the caller. Frees all else: `outputGradients`, what the node had saved, temporaries. */
function differentiate(
  node: TapeNode,
  inputs: readonly string[],
  outputGradients: readonly (Tensor | null)[],
): (readonly [string, Gradient])[] {
  const results: [string, Gradient][] = [];
  const owned = new Set<Tensor>();
  try {
    const { gradient } = node;
    if (gradient === undefined)
      throw new TensorloomError(
        'UNSUPPORTED',
        `Cannot differentiate: the operation ${node.kernelName} has no gradient in tfjs. Compose it of operations that have one.`,
      );
    tf.tidy(() => {
      const scope = activeScopeId();
      const functions = gradientsOf(gradient, outputGradients, inputs);
      for (const name of inputs) {
        const compute = functions[name];
        if (compute === undefined)
          throw new TensorloomError(
            'UNSUPPORTED',
            `Cannot differentiate ${node.kernelName} with respect to its input '${name}': no gradient is defined.`,
          );
        // In a tidy of its own, so that one input's temporaries are gone before the next one's are made.
        let result = inOwnTidy(compute);
        // A gradient function may return a tensor that is not its own: its argument, a saved tensor, or one twice.
        if (!(result instanceof RowSparse) && (result.scopeId !== scope || result.kept || owned.has(result)))
          result = result.clone();
        checkShape(node, name, result);
        const values = tf.keep(result instanceof RowSparse ? result.rows : result);
        owned.add(values);
        results.push([name, result]);
      }
    });
  } catch (error) {
    for (const tensor of owned) tensor.dispose();
    throw error;
  } finally {
    for (const outputGradient of outputGradients) outputGradient?.dispose();
    freeSaved(node);
  }
  return results;
}

function inOwnTidy(compute: () => Gradient): Gradient {
  let result: Gradient | undefined;
  tf.tidy(() => {
    result = compute();
    return result instanceof RowSparse ? result.rows : result;
  });
  return result as Gradient;
}

function checkShape(node: TapeNode, name: string, gradient: Gradient): void {
  if (gradient instanceof RowSparse) return;
  const input = node.inputs[name] as Tensor;
  if (gradient.dtype !== 'float32' || !tf.util.arraysEqual(gradient.shape, input.shape))
    throw new Error(
      `Error in the gradient of ${node.kernelName} for its input '${name}': it must be float32 [${input.shape.join(', ')}], but it is ${gradient.dtype} [${gradient.shape.join(', ')}].`,
    );
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
