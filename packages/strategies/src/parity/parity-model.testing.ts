/** For tests: a small model with every kind of parameter that strategies must get right, and batches for it. */
import {
  crossEntropy,
  embeddingLookup,
  geluTanh,
  layerNorm,
  linear,
  Module,
  Parameter,
  RandomGenerator,
  tf,
  type Scalar,
  type Tensor,
} from '@tensorloom/core';

const VOCABULARY = 23;
const WIDTH = 6;
const CLASSES = 5;

/** One micro-batch. */
export interface ParityBatch {
  readonly ids: readonly (readonly number[])[];
  readonly labels: readonly number[];
  /** Whether the parameter `sometimes` takes part. */
  readonly extra: boolean;
}

function normal(random: RandomGenerator, shape: number[]): Parameter {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  random.fillNormal(values, 0, 0.5);
  return new Parameter(tf.tensor(values, shape));
}

class Block extends Module {
  readonly normWeight = new Parameter(tf.ones([WIDTH]));
  readonly normBias = new Parameter(tf.zeros([WIDTH]));
  readonly weight: Parameter;
  readonly bias = new Parameter(tf.zeros([WIDTH]));

  constructor(random: RandomGenerator) {
    super();
    this.weight = normal(random, [WIDTH, WIDTH]);
  }

  override forward(hidden: Tensor): Tensor {
    const normed = layerNorm(hidden, this.normWeight, this.normBias, 1e-5);
    return tf.add(hidden, geluTanh(linear(normed, this.weight, this.bias)));
  }
}

/** A table with row-sparse gradients, first dimensions that no world size divides, a scalar, and parameters used by some batches or by none. */
export class ParityModel extends Module {
  readonly table: Parameter;
  readonly h: readonly Block[];
  readonly sometimes: Parameter;
  readonly never: Parameter;
  readonly frozen: Parameter;
  readonly head: Parameter;
  readonly headBias = new Parameter(tf.zeros([CLASSES]));
  readonly temperature = new Parameter(tf.scalar(1));

  /** @param tied the table is used as a whole too, so that its gradient is dense */
  constructor(
    seed: number,
    readonly tied = false,
  ) {
    super();
    const random = new RandomGenerator(seed);
    this.table = normal(random, [VOCABULARY, WIDTH]);
    this.h = [new Block(random), new Block(random)];
    this.sometimes = normal(random, [3, WIDTH]);
    this.never = normal(random, [4, 2]);
    this.frozen = normal(random, [WIDTH]);
    this.frozen.requiresGrad = false;
    this.head = normal(random, [CLASSES, WIDTH]);
  }

  override forward({ ids, labels, extra }: ParityBatch): { loss: Scalar; items: number } {
    return tf.tidy(() => {
      const tokens = tf.tensor2d(
        ids.map((row) => [...row]),
        undefined,
        'int32',
      );
      let hidden: Tensor = tf.add(embeddingLookup(this.table, tokens), this.frozen.value);
      for (const block of this.h) hidden = block.forward(hidden);
      let pooled = tf.mean(hidden, 1);
      if (extra) pooled = tf.add(pooled, tf.mul(tf.mean(this.sometimes.value, 0), 0.5));
      if (this.tied) pooled = tf.add(pooled, tf.mean(linear(pooled, this.table), 1, true));
      const logits = tf.mul(linear(pooled, this.head, this.headBias), this.temperature.value);
      return crossEntropy(logits, tf.tensor1d([...labels], 'int32')) as unknown as tf.TensorContainer;
    }) as unknown as { loss: Scalar; items: number };
  }
}

/** Of one to three rows; batches of one step have unequal numbers of items. */
export function parityBatch(step: number, microBatch: number): ParityBatch {
  const random = new RandomGenerator(1 + step * 100 + microBatch);
  const size = 1 + ((step + 2 * microBatch) % 3);
  return {
    ids: Array.from({ length: size }, () => Array.from({ length: 4 }, () => random.integer(VOCABULARY))),
    labels: Array.from({ length: size }, () => random.integer(CLASSES)),
    extra: microBatch === 0,
  };
}
