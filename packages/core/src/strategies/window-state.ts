/** The gradients of an open accumulation window as named tensors, and back. */
import { RowSparse } from '../autograd/row-sparse.ts';
import { TensorloomError } from '../errors.ts';
import type { Gradient, Parameter } from '../modules/parameter.ts';
import type { StoredState } from '../stateful.ts';
import { tf, type Tensor } from '../tensors.ts';

/** Gradients by name: live ones, and those that had to be `made` for it, which the caller frees. */
export function storeGradients(parameters: ReadonlyMap<string, Parameter>): {
  tensors: Record<string, Tensor>;
  made: Tensor[];
} {
  const tensors: Record<string, Tensor> = {};
  const made: Tensor[] = [];
  for (const [name, { grad }] of parameters) {
    if (grad instanceof RowSparse) {
      const indices = tf.keep(tf.tensor1d(grad.indices, 'int32'));
      made.push(indices);
      tensors[`${name}.indices`] = indices;
      tensors[`${name}.rows`] = grad.rows;
    } else if (grad !== null) tensors[name] = grad;
  }
  return { tensors, made };
}

/**
 * How to make the gradient of each parameter that has one in `state`.
 * @throws TensorloomError `BAD_CHECKPOINT` naming everything that does not fit
 */
export function readGradients(
  { tensors }: StoredState,
  parameters: ReadonlyMap<string, Parameter>,
): [Parameter, () => Gradient][] {
  const problems: string[] = [];
  const gradients: [Parameter, () => Gradient][] = [];
  for (const [key, stored] of tensors) {
    if (key.endsWith('.indices')) continue;
    const table = key.endsWith('.rows') ? key.slice(0, -'.rows'.length) : null;
    const indices = table === null ? undefined : tensors.get(`${table}.indices`);
    const parameter = parameters.get(indices === undefined ? key : (table as string));
    if (parameter === undefined) {
      problems.push(`unexpected: ${key} (set up the modules before loading)`);
      continue;
    }
    const expected =
      indices === undefined ? parameter.shape : [indices.shape[0] as number, ...parameter.shape.slice(1)];
    if (!tf.util.arraysEqual([...stored.shape], [...expected])) {
      problems.push(`shape of ${key}: stored [${stored.shape.join(', ')}], expected [${expected.join(', ')}]`);
      continue;
    }
    gradients.push([
      parameter,
      () => {
        const values = tf.tensor(stored.read().data, [...stored.shape], 'float32');
        return indices === undefined
          ? values
          : new RowSparse(indices.read().data as Int32Array, values, parameter.shape[0] as number);
      },
    ]);
  }
  if (problems.length > 0)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `The stored accumulation window does not fit:\n  ${problems.join('\n  ')}`,
    );
  return gradients;
}
