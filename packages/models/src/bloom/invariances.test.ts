/** What must hold for BLOOM whatever its weights: invariances, sparse gradients, memory, dropout. */
import { backward, RowSparse, seedEverything, tf, type Scalar, type Tensor } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { activate, denseGradient, largestError, testAccelerators } from '../testing.test-helper.ts';
import { batchOf, lossOf, model, rows } from './small-model.test-helper.ts';

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

  it('computes of the last block what is asked for: the same hidden states and gradients as of all positions', () => {
    const net = model({ applyResidualConnectionPostLayernorm: accelerator === 'cpu' });
    const { inputIds, attentionMask } = batchOf(rows, 8, 'left');
    const pick = tf.tensor3d([7, 6, 2].map((at) => [Array.from({ length: 8 }, (_, i) => (i === at ? 1 : 0))]));
    // Weights that differ, lest gradients cancel.
    const weights = tf.tensor1d(Array.from({ length: 24 }, (_, i) => Math.sin(i + 1)));
    const run = (hidden: () => Tensor): { states: Float32Array; gradients: Float32Array[] } => {
      const { states } = backward(
        () => {
          const states = hidden();
          return { loss: tf.sum(tf.mul(states, weights)) as Scalar, items: 1, states };
        },
        { parameters: net.transformer.parameters() },
      );
      const gradients = net.transformer.parameters().map(denseGradient);
      net.zeroGrad();
      return { states: states.dataSync<'float32'>(), gradients };
    };
    const whole = run(() => tf.matMul(pick, net.transformer.forward(inputIds, attentionMask)));
    const picked = run(() => net.transformer.forward(inputIds, attentionMask, pick));
    expect(largestError(picked.states, whole.states)).toBeLessThan(1e-5);
    expect(picked.states).toHaveLength(3 * 24);
    picked.gradients.forEach((gradient, i) => {
      const { name } = net.transformer.parameters()[i] as { name: string };
      expect(largestError(gradient, new Float32Array(gradient.length)), name).toBeGreaterThan(0);
      expect(largestError(gradient, whole.gradients[i] as Float32Array), name).toBeLessThan(1e-4);
    });
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
});
