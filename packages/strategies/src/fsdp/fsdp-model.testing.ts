/** For tests: a small stack of transformer blocks on core's operations, with an embedding table, and a tied head if asked for. */
import {
  bloomAttention,
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

export interface StackShape {
  readonly vocabulary: number;
  readonly hidden: number;
  readonly layers: number;
  readonly tied: boolean;
}

export const SMALL: StackShape = { vocabulary: 29, hidden: 8, layers: 3, tied: false };

const HEADS = 2;
const CLASSES = 3;

class Initializer {
  readonly #random: RandomGenerator;

  constructor(seed: number) {
    this.#random = new RandomGenerator(seed);
  }

  normal(...shape: number[]): Parameter {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    this.#random.fillNormal(values, 0, 0.3);
    return new Parameter(tf.tensor(values, shape));
  }
}

class Norm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(width: number) {
    super();
    this.weight = new Parameter(tf.ones([width]));
    this.bias = new Parameter(tf.zeros([width]));
  }

  override forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias);
  }
}

class Dense extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(inputs: number, outputs: number, initializer: Initializer) {
    super();
    this.weight = initializer.normal(outputs, inputs);
    this.bias = initializer.normal(outputs);
  }

  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

export class Block extends Module {
  readonly inputNorm: Norm;
  readonly queryKeyValue: Dense;
  readonly dense: Dense;
  readonly postNorm: Norm;
  readonly up: Dense;
  readonly down: Dense;

  constructor(width: number, initializer: Initializer) {
    super();
    this.inputNorm = new Norm(width);
    this.queryKeyValue = new Dense(width, 3 * width, initializer);
    this.dense = new Dense(width, width, initializer);
    this.postNorm = new Norm(width);
    this.up = new Dense(width, 4 * width, initializer);
    this.down = new Dense(4 * width, width, initializer);
  }

  override forward(hidden: Tensor, mask: Tensor): Tensor {
    return tf.tidy(() => {
      const qkv = this.queryKeyValue.forward(this.inputNorm.forward(hidden));
      const attended = bloomAttention(qkv, Float32Array.of(0.25, 0.0625), mask, { heads: HEADS });
      const middle = tf.add(hidden, this.dense.forward(attended));
      return tf.add(middle, this.down.forward(geluTanh(this.up.forward(this.postNorm.forward(middle)))));
    });
  }
}

/** Ids and labels of one micro-batch: a class for each row, or, for a tied stack, the next token everywhere. */
export interface StackBatch {
  readonly ids: readonly (readonly number[])[];
  readonly labels: readonly number[];
}

export class Stack extends Module {
  readonly table: Parameter;
  readonly tableNorm: Norm;
  readonly h: readonly Block[];
  readonly lastNorm: Norm;
  readonly head: Parameter | null;

  constructor(
    readonly shape: StackShape,
    seed = 3,
  ) {
    super();
    const initializer = new Initializer(seed);
    const { vocabulary, hidden, layers, tied } = shape;
    this.table = initializer.normal(vocabulary, hidden);
    if (tied) this.table.pinToDevice();
    this.tableNorm = new Norm(hidden);
    this.h = Array.from({ length: layers }, () => new Block(hidden, initializer));
    this.lastNorm = new Norm(hidden);
    this.head = tied ? null : initializer.normal(CLASSES, hidden);
  }

  override forward({ ids, labels }: StackBatch): { logits: Tensor; loss: Scalar; items: number } {
    return tf.tidy(() => {
      const tokens = tf.tensor2d(
        ids.map((row) => [...row]),
        undefined,
        'int32',
      );
      const mask = tf.onesLike(tokens);
      let hidden = this.tableNorm.forward(embeddingLookup(this.table, tokens));
      for (const block of this.h) {
        const next = block.forward(hidden, mask);
        hidden.dispose();
        hidden = next;
      }
      const last = this.lastNorm.forward(hidden);
      const logits =
        this.head === null
          ? tf.reshape(linear(last, this.table), [-1, this.shape.vocabulary])
          : linear(tf.mean(last, 1), this.head);
      return { logits, ...crossEntropy(logits, tf.tensor1d([...labels], 'int32')) } as unknown as tf.TensorContainer;
    }) as unknown as { logits: Tensor; loss: Scalar; items: number };
  }
}

/** Of one to three rows of five tokens. */
export function stackBatch(shape: StackShape, number: number): StackBatch {
  const random = new RandomGenerator(50 + number);
  const ids = Array.from({ length: 1 + (number % 3) }, () =>
    Array.from({ length: 5 }, () => random.integer(shape.vocabulary)),
  );
  const labels = ids.flatMap((row) => (shape.tied ? row : [0])).map(() => random.integer(CLASSES));
  return { ids, labels };
}
