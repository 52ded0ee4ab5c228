import { beforeAll, describe, expect, it } from 'vitest';
import { Parameter } from '../modules/parameter.ts';
import { bloomAttention, bloomAttentionBias } from '../ops/bloom-attention.ts';
import { crossEntropy } from '../ops/cross-entropy.ts';
import { embeddingLookup } from '../ops/embedding-lookup.ts';
import { geluTanh } from '../ops/gelu-tanh.ts';
import { layerNorm } from '../ops/layer-norm.ts';
import { linear } from '../ops/linear.ts';
import { values } from '../ops/reference.testing.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { backward } from './backward.ts';
import { testBackends, useBackend } from './backends.testing.ts';

const [layers, batch, seq, heads, hidden, vocabulary, classes] = [4, 2, 24, 2, 32, 50, 2] as const;
const slopes = new Float32Array([0.25, 0.0625]);

/** Initial values of a stack of BLOOM's blocks: table, then 12 tensors per block, then the head. */
function initialValues(): Tensor[] {
  let seed = 1;
  const random = (shape: number[]): Tensor =>
    tf
      .tensor(
        values(
          shape.reduce((a, b) => a * b, 1),
          seed++,
        ),
        shape,
      )
      .mul(0.1);
  const norm = (): Tensor[] => [tf.ones([hidden]), tf.zeros([hidden])];
  const dense = (out: number, inner: number): Tensor[] => [random([out, inner]), random([out])];
  const blocks = Array.from({ length: layers }, () => [
    ...norm(),
    ...dense(3 * hidden, hidden),
    ...dense(hidden, hidden),
    ...norm(),
    ...dense(4 * hidden, hidden),
    ...dense(hidden, 4 * hidden),
  ]);
  return tf.tidy(() => [random([vocabulary, hidden]), ...blocks.flat(), random([classes, hidden])]);
}

/** One block after the other, each in a tidy, as a model would. */
function loss(weights: readonly (Tensor | Parameter)[], embedded: Tensor, mask: Tensor, labels: Tensor): Scalar {
  const bias = bloomAttentionBias(slopes, mask);
  let state = embedded;
  for (let layer = 0; layer < layers; layer++) {
    const w = weights.slice(1 + layer * 12, 13 + layer * 12) as [Tensor, ...Tensor[]];
    const input = state;
    state = tf.tidy(() => {
      const normed = layerNorm(input, w[0], w[1] as Tensor);
      const attended = bloomAttention(linear(normed, w[2] as Tensor, w[3] as Tensor), slopes, mask, { heads, bias });
      const middle = tf.add(input, linear(attended, w[4] as Tensor, w[5] as Tensor));
      const inner = geluTanh(linear(layerNorm(middle, w[6] as Tensor, w[7] as Tensor), w[8] as Tensor, w[9] as Tensor));
      return tf.add(middle, linear(inner, w[10] as Tensor, w[11] as Tensor));
    });
    input.dispose();
  }
  const pooled = tf.reshape(tf.slice(state, [0, seq - 1, 0], [batch, 1, hidden]), [batch, hidden]);
  return crossEntropy(linear(pooled, weights.at(-1) as Tensor), labels).loss;
}

/** Greatest number of bytes in live tensors while `fn` runs, above those before. */
function peakBytes(fn: () => void): number {
  const engine = tf.engine() as unknown as { trackTensor(...args: unknown[]): void; state: { numBytes: number } };
  const original = engine.trackTensor;
  const before = engine.state.numBytes;
  let peak = 0;
  engine.trackTensor = function (...args) {
    original.apply(this, args);
    peak = Math.max(peak, engine.state.numBytes - before);
  };
  try {
    fn();
  } finally {
    engine.trackTensor = original;
  }
  return peak;
}

describe.each(testBackends())('memory of backward on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it("holds the same number of tensors and bytes after each of 50 steps of a stack of BLOOM's blocks", () => {
    const parameters = initialValues().map((value) => new Parameter(value));
    const mask = tf.ones([batch, seq], 'int32');
    const labels = tf.tensor1d([0, 1], 'int32');
    const counts = new Set<string>();
    for (let step = 0; step < 50; step++) {
      const ids = tf.tensor2d(
        values(batch * seq, step + 1).map((v) => Math.floor(Math.abs(v * 1000)) % vocabulary),
        [batch, seq],
        'int32',
      );
      backward(() => loss(parameters, embeddingLookup(parameters[0] as Parameter, ids), mask, labels), {
        parameters,
      }).dispose();
      for (const parameter of parameters) {
        expect(parameter.grad).not.toBeNull();
        parameter.zeroGrad();
      }
      ids.dispose();
      counts.add(`${tf.memory().numTensors} tensors, ${tf.memory().numBytes} bytes`);
    }
    expect([...counts]).toHaveLength(1);
    for (const parameter of parameters) parameter.dispose();
  });

  it("peaks below tfjs's variableGrads on the same model, with the same gradients", () => {
    const initial = initialValues().slice(1);
    const embedded = tf.tensor3d(values(batch * seq * hidden, 99), [batch, seq, hidden]);
    const mask = tf.ones([batch, seq], 'int32');
    const labels = tf.tensor1d([0, 1], 'int32');

    const variables = initial.map((value) => tf.variable(value));
    const table = tf.scalar(0);
    let expected: Record<string, Tensor> = {};
    const theirs = peakBytes(() => {
      const { value, grads } = tf.variableGrads(() => loss([table, ...variables], embedded.clone(), mask, labels));
      value.dispose();
      expected = grads;
    });

    const parameters = initial.map((value) => new Parameter(value));
    const ours = peakBytes(() =>
      backward(() => loss([table, ...parameters], embedded.clone(), mask, labels), { parameters }).dispose(),
    );
    console.log(`peak of backward on ${backend}: ${ours} bytes, of variableGrads: ${theirs}`);
    expect(ours).toBeLessThan(0.8 * theirs);
    for (const [i, parameter] of parameters.entries())
      expect((parameter.grad as Tensor).dataSync()).toEqual(
        (expected[(variables[i] as tf.Variable).name] as Tensor).dataSync(),
      );
    tf.dispose([expected, variables, embedded, mask, labels, table]);
    for (const parameter of parameters) parameter.dispose();
  });
});
