import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { backward } from '../autograd/backward.ts';
import { RowSparse } from '../autograd/row-sparse.ts';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { embeddingLookup } from './embedding-lookup.ts';
import { linear } from './linear.ts';

function sparse(parameter: Parameter): { indices: number[]; rows: number[] } {
  if (!(parameter.grad instanceof RowSparse)) throw new Error('expected a row-sparse gradient');
  return { indices: [...parameter.grad.indices], rows: [...parameter.grad.rows.dataSync()] };
}

/** d(loss)/d(output) = 1, 2, 3, … in order. */
function countingLoss(output: Tensor): Scalar {
  return tf.sum(tf.mul(output, tf.reshape(tf.range(1, output.size + 1), output.shape))) as Scalar;
}

describe.each(testBackends())('embeddingLookup on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([false, true])(
    'gathers rows and gives the sums of the rows that occurred (pinned to the device: %s)',
    (pinned) => {
      const table = new Parameter(tf.tensor2d([0, 1, 10, 11, 20, 21, 30, 31], [4, 2]));
      if (pinned) table.pinToDevice();
      const ids = tf.tensor2d([3, 1, 3, 0], [2, 2], 'int32');
      const backwardOnce = (): number[] => {
        const { loss, rows } = backward(
          () => {
            const found = embeddingLookup(table, ids);
            return { loss: countingLoss(found), rows: found };
          },
          { parameters: [table] },
        );
        const found = [...rows.dataSync()];
        tf.dispose([loss, rows]);
        return found;
      };
      expect(backwardOnce()).toEqual([30, 31, 10, 11, 30, 31, 0, 1]);
      expect(table.onHost).toBe(!pinned);
      expect(sparse(table)).toEqual({ indices: [0, 1, 3], rows: [7, 8, 3, 4, 6, 8] });
      const tensors = tf.memory().numTensors;
      backwardOnce();
      expect(sparse(table).rows).toEqual([14, 16, 6, 8, 12, 16]);
      expect(tf.memory().numTensors).toBe(tensors);
      expect([...table.value.dataSync()]).toEqual([0, 1, 10, 11, 20, 21, 30, 31]);
      table.dispose();
      ids.dispose();
    },
  );

  it('merges the rows of two micro-batches', () => {
    const table = new Parameter(tf.zeros([6, 1]));
    for (const ids of [
      [4, 0],
      [5, 4, 2],
    ])
      backward(() => countingLoss(embeddingLookup(table, tf.tensor1d(ids, 'int32'))), {
        parameters: [table],
      }).dispose();
    expect(sparse(table)).toEqual({ indices: [0, 2, 4, 5], rows: [2, 3, 3, 1] });
    table.dispose();
  });

  it('gives a dense gradient where the table is also used as a whole, as by a tied head', () => {
    const initial = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
    const loss = (hidden: Tensor, head: Tensor | Parameter): Scalar =>
      tf.sum(tf.square(linear(hidden, head))) as Scalar;
    const variable = tf.variable(initial);
    const expected = tf.variableGrads(() =>
      loss(tf.matMul(tf.tensor2d([0, 0, 1, 1, 0, 0], [2, 3]), variable as Tensor as tf.Tensor2D), variable),
    ).grads[variable.name] as Tensor;
    const table = new Parameter(initial.clone());
    const tape: string[] = [];
    backward(() => loss(embeddingLookup(table, tf.tensor1d([2, 0], 'int32')), table), {
      parameters: [table],
      onParameterReady: () => tape.push('ready'),
    }).dispose();
    expect([...(table.grad as Tensor).dataSync()]).toEqual([...expected.dataSync()]);
    expect(tape).toEqual(['ready']);
    table.dispose();
  });

  it('refuses ids out of range and ids that are not int32', () => {
    const table = new Parameter(tf.zeros([3, 2]));
    expect(() => embeddingLookup(table, tf.tensor1d([0, 3], 'int32'))).toThrow(
      /id 3 is out of range; the table has 3 rows/,
    );
    expect(() => embeddingLookup(table, tf.tensor1d([-1], 'int32'))).toThrow(/id -1 is out of range/);
    expect(() => embeddingLookup(table, tf.tensor1d([1]))).toThrow(/float32; expected int32/);
    table.dispose();
  });
});
