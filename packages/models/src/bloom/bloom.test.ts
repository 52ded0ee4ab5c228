/** What must hold for BLOOM whatever its weights: invariances, losses, dropout, memory. */
import { backward, RandomGenerator, RowSparse, seedEverything, tf, type Tensor } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { activate, denseGradient, largestError, testAccelerators } from '../testing.test-helper.ts';
import { BloomForCausalLM } from './causal-lm.ts';
import { parseBloomConfig, withConfig, type BloomConfig } from './config.ts';
import type { BloomInputs } from './inputs.ts';
import { BloomForSequenceClassification } from './sequence-classification.ts';

const pad = 3;
const config = parseBloomConfig({
  vocab_size: 60,
  hidden_size: 24,
  n_layer: 2,
  n_head: 6,
  pad_token_id: pad,
  initializer_range: 0.3,
  num_labels: 3,
});

/** Rows of token ids, padded to `length` on a side. */
function batchOf(rows: readonly (readonly number[])[], length: number, side: 'left' | 'right' = 'right'): BloomInputs {
  const padded = rows.map((row) => {
    const padding = Array.from({ length: length - row.length }, () => pad);
    return side === 'left' ? [...padding, ...row] : [...row, ...padding];
  });
  return {
    inputIds: tf.tensor2d(padded, undefined, 'int32'),
    attentionMask: tf.tensor2d(
      padded.map((row) => row.map((id) => (id === pad ? 0 : 1))),
      undefined,
      'int32',
    ),
  };
}

const model = (changes: Partial<BloomConfig> = {}, seed = 5): BloomForSequenceClassification =>
  new BloomForSequenceClassification(withConfig(config, changes), { random: new RandomGenerator(seed) }).eval();
const lossOf = (net: BloomForSequenceClassification, inputs: BloomInputs, labels: Tensor): number =>
  net.forward({ ...inputs, labels }).loss.dataSync()[0] as number;

const rows = [
  [5, 9, 12, 40, 8],
  [7, 7, 30],
  [11, 4, 59, 22, 21, 20, 6],
];

describe.each(await testAccelerators())('BLOOM on %s', (accelerator) => {
  beforeAll(() => activate(accelerator));

  it('gives the same logits however long the padding is, on either side', () => {
    const net = model();
    const exact = rows.map((row) => net.forward(batchOf([row], row.length)).logits.dataSync());
    // Were all logits equal, the comparison would say nothing.
    expect(largestError(exact[0] as Float32Array, exact[1] as Float32Array)).toBeGreaterThan(0.1);
    for (const side of ['right', 'left'] as const)
      for (const length of [7, 11]) {
        const logits = net.forward(batchOf(rows, length, side)).logits.arraySync() as number[][];
        logits.forEach((row, i) =>
          expect(largestError(row, exact[i] as Float32Array), `${side} ${length}`).toBeLessThan(1e-5),
        );
      }
    net.dispose();
  });

  it('is causal: a later token does not change earlier hidden states', () => {
    const net = model();
    const states = (row: number[]): Float32Array => {
      const { inputIds, attentionMask } = batchOf([row], row.length);
      return net.transformer.forward(inputIds, attentionMask).dataSync<'float32'>();
    };
    const before = states([5, 9, 12, 40, 8]);
    const after = states([5, 9, 12, 41, 7]);
    expect(largestError(before.subarray(0, 3 * 24), after.subarray(0, 3 * 24))).toBeLessThan(1e-6);
    expect(largestError(before.subarray(3 * 24), after.subarray(3 * 24))).toBeGreaterThan(1e-3);
    net.dispose();
  });

  it('gives a batch the mean loss of its rows, and the same gradients summed', () => {
    const net = model();
    const labels = [2, 0, 1];
    const whole = backward(() => net.forward({ ...batchOf(rows, 9), labels: tf.tensor1d(labels, 'int32') }), {
      parameters: net.parameters(),
      seed: 3,
    });
    const gradients = net.parameters().map(denseGradient);
    net.zeroGrad();
    let sum = 0;
    rows.forEach((row, i) => {
      const single = { ...batchOf([row], row.length), labels: tf.tensor1d([labels[i] as number], 'int32') };
      sum += backward(() => net.forward(single), { parameters: net.parameters() }).loss.dataSync()[0] as number;
    });
    expect(whole.items).toBe(3);
    expect(whole.loss.dataSync()[0]).toBeCloseTo(sum / 3, 5);
    net
      .parameters()
      .forEach((parameter, i) =>
        expect(largestError(denseGradient(parameter), gradients[i] as Float32Array), parameter.name).toBeLessThan(1e-4),
      );
    net.dispose();
  });

  it('gives the embedding only the rows that occurred, equal to those of a dense gradient', () => {
    const net = model();
    const inputs = batchOf(rows, 7);
    const labels = tf.tensor1d([0, 1, 2], 'int32');
    const table = net.transformer.wordEmbeddings.weight;
    const logProbability = (): number => lossOf(net, inputs, labels);
    backward(() => net.forward({ ...inputs, labels }), { parameters: net.parameters() });
    const { grad } = table;
    expect(grad).toBeInstanceOf(RowSparse);
    // Padding (id 3) occurs in the batch but moves nothing.
    expect([...(grad as RowSparse).indices]).toEqual([3, 4, 5, 6, 7, 8, 9, 11, 12, 20, 21, 22, 30, 40, 59]);
    const dense = denseGradient(table);
    expect(largestError(dense.subarray(3 * 24, 4 * 24), new Float32Array(24))).toBe(0);
    // Central difference along one element of a row that occurs twice.
    const element = 7 * 24 + 2;
    const nudge = (by: number): number => {
      const values = table.value.dataSync<'float32'>().slice();
      values[element] = (values[element] as number) + by;
      table.assign(tf.tensor(values, [60, 24]));
      return logProbability();
    };
    const step = 1e-2;
    const slope = (nudge(step) - nudge(-2 * step)) / (2 * step);
    expect(Math.abs(slope - (dense[element] as number))).toBeLessThan(2e-2 * Math.abs(slope) + 1e-3);
    net.dispose();
  });

  it('keeps the number of live tensors constant over forward and backward', () => {
    const net = model({ hiddenDropout: 0.1, attentionDropout: 0.1 }).train();
    const inputs = { ...batchOf(rows, 7), labels: tf.tensor1d([0, 1, 2], 'int32') };
    const step = (): number => {
      const { logits, loss } = backward(() => net.forward(inputs), { parameters: net.parameters() });
      logits.dispose();
      loss.dispose();
      return tf.memory().numTensors;
    };
    step();
    const counts = Array.from({ length: 5 }, step);
    expect(new Set(counts).size).toBe(1);
    const before = tf.memory().numTensors;
    net.forward(inputs).logits.dispose();
    // Outside of backward the loss remains, and nothing else.
    expect(tf.memory().numTensors).toBe(before + 1);
    net.dispose();
  });

  it('drops out only in training, from the seeded generator', () => {
    const net = model({ hiddenDropout: 0.3, attentionDropout: 0.3 });
    const logits = (): Float32Array => net.forward(batchOf(rows, 7)).logits.dataSync<'float32'>();
    expect(largestError(logits(), logits())).toBe(0);
    net.train();
    seedEverything(1);
    const first = logits();
    expect(largestError(first, logits())).toBeGreaterThan(1e-3);
    seedEverything(1);
    expect(largestError(first, logits())).toBe(0);
    net.dispose();
  });

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

describe('initial weights', () => {
  beforeAll(() => activate('cpu'));

  it('are normal with the published deviation, biases zero and LayerNorms one', () => {
    const net = new BloomForSequenceClassification(
      parseBloomConfig({ vocab_size: 300, hidden_size: 64, pad_token_id: pad }),
      { random: new RandomGenerator(9) },
    );
    for (const [name, parameter] of net.namedParameters()) {
      const values = parameter.value.dataSync<'float32'>();
      const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
      if (name.endsWith('.bias'))
        expect(
          values.every((x) => x === 0),
          name,
        ).toBe(true);
      else if (/layernorm|ln_f/.test(name))
        expect(
          values.every((x) => x === 1),
          name,
        ).toBe(true);
      else if (values.length > 1000) {
        expect(deviation, name).toBeGreaterThan(0.019);
        expect(deviation, name).toBeLessThan(0.021);
        expect(Math.abs(mean), name).toBeLessThan(0.001);
      }
    }
    // transformers gives BLOOM's embedding no padding_idx, so the padding row is random like the others.
    expect(
      net.transformer.wordEmbeddings.weight.value.slice([pad, 0], [1, 64]).abs().max().dataSync()[0],
    ).toBeGreaterThan(0);
  });

  it('follow the seed', () => {
    const first = (seed: number): Float32Array => model({}, seed).score.weight.value.dataSync<'float32'>();
    expect(largestError(first(1), first(1))).toBe(0);
    expect(largestError(first(1), first(2))).toBeGreaterThan(0);
  });
});
