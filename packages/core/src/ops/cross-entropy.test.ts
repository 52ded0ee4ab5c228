import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { backward } from '../autograd/backward.ts';
import { Parameter } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';
import { crossEntropy } from './cross-entropy.ts';
import { checkOp, range, values } from './reference.testing.ts';

const naive =
  (labels: readonly number[], classes: number, ignoreIndex = -100) =>
  ([logits]: number[][]): number[] => {
    const losses = range(labels.length)
      .filter((i) => labels[i] !== ignoreIndex)
      .map((i) => {
        const row = logits!.slice(i * classes, (i + 1) * classes);
        const largest = Math.max(...row);
        return largest + Math.log(row.reduce((sum, x) => sum + Math.exp(x - largest), 0)) - row[labels[i]!]!;
      });
    return [losses.reduce((sum, loss) => sum + loss, 0) / Math.max(losses.length, 1)];
  };

describe.each(testBackends())('crossEntropy on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    ['all labels', [0, 6, 3, 3, 1], undefined],
    ['some ignored', [-100, 6, 3, -100, 1], undefined],
    ['an ignored class', [2, 6, 3, 2, 1], 2],
    ['all ignored', [-100, -100, -100, -100, -100], undefined],
  ])('is the mean over the labels that count: %s', (_name, labels, ignoreIndex) => {
    const labelTensor = tf.tensor1d(labels, 'int32');
    const options = ignoreIndex === undefined ? {} : { ignoreIndex };
    checkOp(
      [{ shape: [5, 7], data: values(35, 1).map((v) => v * 3) }],
      ([logits]) => {
        const { loss, items } = crossEntropy(logits as Tensor, labelTensor, options);
        expect(items).toBe(labels.filter((label) => label !== (ignoreIndex ?? -100)).length);
        return loss;
      },
      naive(labels, 7, ignoreIndex),
    );
    labelTensor.dispose();
  });

  it('stays finite for logits that are far apart', () => {
    const logits = new Parameter(tf.tensor2d([2000, -2000, 0, 3e38, -3e38, 1], [2, 3]));
    const { loss } = backward(() => crossEntropy(logits.value, tf.tensor1d([1, 0], 'int32')), { parameters: [logits] });
    expect(loss.dataSync()[0]).toBe(2000);
    expect([...(logits.grad as Tensor).dataSync()]).toEqual([0.5, -0.5, 0, 0, 0, 0]);
    tf.dispose(loss);
    logits.dispose();
  });

  it('refuses labels out of range and shapes that do not fit', () =>
    tf.tidy(() => {
      expect(() => crossEntropy(tf.zeros([2, 3]), tf.tensor1d([0, 3], 'int32'))).toThrow(
        /label 3 is out of range; there are 3 classes/,
      );
      expect(() => crossEntropy(tf.zeros([2, 3]), tf.tensor1d([-1, 0], 'int32'))).toThrow(/label -1/);
      expect(() => crossEntropy(tf.zeros([2, 3]), tf.tensor1d([0], 'int32'))).toThrow(
        /expected \[n, classes\] and int32 \[n\]/,
      );
    }));
});
