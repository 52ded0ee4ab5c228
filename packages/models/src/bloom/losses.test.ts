/** Losses and their items, and what the models refuse. */
import { RandomGenerator, tf } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { activate, largestError, testAccelerators } from '../testing.test-helper.ts';
import { BloomForCausalLM } from './causal-lm.ts';
import { batchOf, config, lossOf, model, rows } from './small-model.test-helper.ts';

describe.each(await testAccelerators())('BLOOM on %s', (accelerator) => {
  beforeAll(() => activate(accelerator));

  it('chooses the loss by number of labels and their dtype, as transformers does', () => {
    const inputs = batchOf(rows, 7);
    const regression = model({ numLabels: 1 });
    const [a, b, c] = regression.forward(inputs).logits.dataSync<'float32'>() as unknown as [number, number, number];
    const expected = ((a - 1) ** 2 + (b - 2) ** 2 + (c + 1) ** 2) / 3;
    expect(lossOf(regression, inputs, tf.tensor1d([1, 2, -1]))).toBeCloseTo(expected, 4);
    expect(lossOf(regression, inputs, tf.tensor2d([[1], [2], [-1]]))).toBeCloseTo(expected, 4);

    const classes = model();
    const logits = classes.forward(inputs).logits.arraySync() as number[][];
    const targets = [
      [1, 0, 1],
      [0, 0, 0],
      [1, 1, 1],
    ];
    const crossEntropies = logits.flatMap((row, i) =>
      row.map((z, j) => Math.log1p(Math.exp(-Math.abs(z))) + Math.max(z, 0) - z * (targets[i]?.[j] as number)),
    );
    expect(lossOf(classes, inputs, tf.tensor2d(targets))).toBeCloseTo(
      crossEntropies.reduce((sum, x) => sum + x) / 9,
      4,
    );

    const negativeLog = logits.map(
      (row, i) => Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0)) - (row[i] as number),
    );
    expect(lossOf(classes, inputs, tf.tensor1d([0, 1, 2], 'int32'))).toBeCloseTo(
      negativeLog.reduce((sum, x) => sum + x) / 3,
      4,
    );
    regression.dispose();
    classes.dispose();
  });

  it('counts, in language modelling, the shifted labels that are not -100', () => {
    const net = new BloomForCausalLM(config, { random: new RandomGenerator(2) }).eval();
    const inputs = batchOf(
      [
        [5, 6, 7, 8],
        [9, 10, 11, 12],
      ],
      4,
    );
    const labels = tf.tensor2d(
      [
        [5, 6, 7, 8],
        [-100, -100, 11, -100],
      ],
      undefined,
      'int32',
    );
    const { items, loss, logits } = net.forward({ ...inputs, labels });
    expect(items).toBe(4);
    const rowsOfLogits = logits.arraySync() as number[][][];
    const wanted: [number, number, number][] = [
      [0, 0, 6],
      [0, 1, 7],
      [0, 2, 8],
      [1, 1, 11],
    ];
    const expected = wanted.map(([row, position, label]) => {
      const z = rowsOfLogits[row]?.[position] as number[];
      return Math.log(z.reduce((sum, x) => sum + Math.exp(x), 0)) - (z[label] as number);
    });
    expect(loss.dataSync()[0]).toBeCloseTo(expected.reduce((sum, x) => sum + x) / 4, 4);
    net.dispose();
  });
});

describe('refusals', () => {
  beforeAll(() => activate('cpu'));

  it('names what does not fit', () => {
    const net = model();
    const inputs = batchOf(rows, 7);
    expect(() => net.forward({ ...inputs, inputIds: inputs.inputIds.cast('float32') })).toThrow(
      /inputIds must be int32 \[batch, seq\], got float32 \[3, 7\]/,
    );
    expect(() => net.forward({ ...inputs, attentionMask: tf.ones([3, 6], 'int32') })).toThrow(
      /attentionMask must be int32 \[3, 7\]/,
    );
    expect(() => net.forward({ ...inputs, labels: tf.tensor1d([1, 2], 'int32') })).toThrow(
      /Labels for single label classification must be int32 \[3\], got int32 \[2\]/,
    );
    expect(() => net.forward({ ...inputs, labels: tf.tensor1d([1, 2, 0], 'float32') })).toThrow(
      /Labels for multi label classification must be float32 \[3, 3\]/,
    );
  });

  it('needs a padding token for more than one row, and takes the last token of a single row without', () => {
    const net = model({ padTokenId: null });
    expect(() => net.forward(batchOf(rows, 7))).toThrow(/A batch of 3 rows needs pad_token_id/);
    const row = rows[0] as number[];
    expect(
      largestError(
        net.forward(batchOf([row], 5)).logits.dataSync(),
        model()
          .forward(batchOf([row], 5))
          .logits.dataSync(),
      ),
    ).toBe(0);
  });
});
