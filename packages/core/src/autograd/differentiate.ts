/** One step of the walk backwards: the gradients of one recorded operation's inputs. */
import { TensorloomError } from '../errors.ts';
import type { Gradient } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';
import { RowSparse } from './row-sparse.ts';
import { activeScopeId, added, freeSaved, gradientsOf, type TapeNode } from './tape.ts';

/**
 * Gradients of a node's `inputs`, kept and each owned by the caller. Frees all else: `outputGradients`, what the node had saved, temporaries.
 * Gradients that the operation added into parameters itself are not among them.
 */
export function differentiate(
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
        if (result === added) continue;
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

function inOwnTidy(compute: () => Gradient | typeof added): Gradient | typeof added {
  let result: Gradient | typeof added = added;
  tf.tidy(() => {
    result = compute();
    if (result === added) return;
    return result instanceof RowSparse ? result.rows : result;
  });
  return result;
}

function checkShape(node: TapeNode, name: string, gradient: Gradient): void {
  if (gradient instanceof RowSparse) return;
  const input = node.inputs[name] as Tensor;
  if (gradient.dtype !== 'float32' || !tf.util.arraysEqual(gradient.shape, input.shape))
    throw new Error(
      `Error in the gradient of ${node.kernelName} for its input '${name}': it must be float32 [${input.shape.join(', ')}], but it is ${gradient.dtype} [${gradient.shape.join(', ')}].`,
    );
}
