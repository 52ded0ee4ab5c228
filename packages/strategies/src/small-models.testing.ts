/** For tests: two small models on core's operations, a classifier and a language model, with gradients dense and row-sparse. */
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

export const VOCABULARY = 23;
const WIDTH = 8;
const CLASSES = 3;

/** Ids [batch, seq] and labels: [batch], or [batch, seq] with -100 where a token does not count. */
export interface SmallBatch {
  readonly ids: number[][];
  readonly labels: number[] | number[][];
}

export interface SmallOutput {
  readonly loss: Scalar;
  readonly items: number;
  readonly logits: Tensor;
}

abstract class SmallModel extends Module {
  readonly table: Parameter;
  readonly normWeight = new Parameter(tf.ones([WIDTH]));
  readonly normBias = new Parameter(tf.zeros([WIDTH]));
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(classes: number) {
    super();
    const random = new RandomGenerator(7);
    const normal = (shape: [number, number]): Parameter => {
      const values = new Float32Array(shape[0] * shape[1]);
      random.fillNormal(values, 0, 0.5);
      return new Parameter(tf.tensor(values, shape));
    };
    this.table = normal([VOCABULARY, WIDTH]);
    this.weight = normal([classes, WIDTH]);
    this.bias = new Parameter(tf.zeros([classes]));
  }

  abstract override forward(batch: SmallBatch): SmallOutput;

  /** [batch, seq, WIDTH] */
  protected hidden(ids: number[][]): Tensor {
    const embedded = embeddingLookup(this.table, tf.tensor2d(ids, undefined, 'int32'));
    return geluTanh(layerNorm(embedded, this.normWeight, this.normBias, 1e-5));
  }
}

/** Mean over the tokens, then linear; items are reviews. */
export class SmallClassifier extends SmallModel {
  constructor() {
    super(CLASSES);
  }

  override forward({ ids, labels }: SmallBatch): SmallOutput {
    return tf.tidy(() => {
      const logits = linear(tf.mean(this.hidden(ids), 1), this.weight, this.bias);
      return {
        logits,
        ...crossEntropy(logits, tf.tensor1d(labels as number[], 'int32')),
      } as unknown as tf.TensorContainer;
    }) as unknown as SmallOutput;
  }
}

/** Linear at each token; items are the labels that are not -100. */
export class SmallLanguageModel extends SmallModel {
  constructor() {
    super(VOCABULARY);
  }

  override forward({ ids, labels }: SmallBatch): SmallOutput {
    return tf.tidy(() => {
      const hidden = this.hidden(ids);
      const logits = linear(hidden, this.weight, this.bias).reshape([-1, VOCABULARY]);
      return {
        logits,
        ...crossEntropy(logits, tf.tensor1d((labels as number[][]).flat(), 'int32'), { ignoreIndex: -100 }),
      } as unknown as tf.TensorContainer;
    }) as unknown as SmallOutput;
  }
}

/** Random reviews of `seq` tokens. */
export function classifierBatch(size: number, seed: number, seq = 5): SmallBatch {
  const random = new RandomGenerator(seed);
  return {
    ids: Array.from({ length: size }, () => Array.from({ length: seq }, () => random.integer(VOCABULARY))),
    labels: Array.from({ length: size }, () => random.integer(CLASSES)),
  };
}

/** Random rows of `seq` tokens, of which only the first `counted[row]` have labels. */
export function languageBatch(counted: readonly number[], seed: number, seq = 9): SmallBatch {
  const random = new RandomGenerator(seed);
  const rows = counted.map(() => Array.from({ length: seq }, () => random.integer(VOCABULARY)));
  return {
    ids: rows,
    labels: counted.map((n) => Array.from({ length: seq }, (_, t) => (t < n ? random.integer(VOCABULARY) : -100))),
  };
}

/** All rows of several batches as one large batch. */
export function join(batches: readonly SmallBatch[]): SmallBatch {
  return { ids: batches.flatMap((batch) => batch.ids), labels: batches.flatMap((batch) => batch.labels as number[][]) };
}
