/** For tests: a transformer of core's operations, with a table, a block, and a loss. */
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

interface Size {
  readonly hidden: number;
  readonly heads: number;
  readonly layers: number;
  readonly rows: number;
}

class Affine extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(out: number, inner: number, random: RandomGenerator) {
    super();
    const values = new Float32Array(out * inner);
    random.fillNormal(values);
    this.weight = new Parameter(
      tf.tensor2d(
        values.map((value) => value / Math.sqrt(inner)),
        [out, inner],
      ),
    );
    this.bias = new Parameter(tf.zeros([out]));
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
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

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias);
  }
}

class Block extends Module {
  readonly norm: Norm;
  readonly qkv: Affine;
  readonly dense: Affine;
  readonly secondNorm: Norm;
  readonly up: Affine;
  readonly down: Affine;

  constructor(
    hidden: number,
    readonly heads: number,
    random: RandomGenerator,
  ) {
    super();
    this.norm = new Norm(hidden);
    this.qkv = new Affine(3 * hidden, hidden, random);
    this.dense = new Affine(hidden, hidden, random);
    this.secondNorm = new Norm(hidden);
    this.up = new Affine(4 * hidden, hidden, random);
    this.down = new Affine(hidden, 4 * hidden, random);
  }

  forward(x: Tensor, mask: Tensor): Tensor {
    return tf.tidy(() => {
      const slopes = Float32Array.from({ length: this.heads }, (_, head) => 2 ** -(head + 1));
      const fused = this.qkv.forward(this.norm.forward(x));
      const attended = tf.add(x, this.dense.forward(bloomAttention(fused, slopes, mask, { heads: this.heads })));
      const grown = geluTanh(this.up.forward(this.secondNorm.forward(attended)));
      return tf.add(attended, this.down.forward(grown));
    });
  }
}

export interface Tokens {
  /** int32 `[batch, seq]`. */
  readonly ids: Tensor;
  /** int32 `[batch]`. */
  readonly labels: Tensor;
}

export interface Output {
  readonly loss: Scalar;
  readonly items: number;
  readonly logits: Tensor;
  readonly hidden: Tensor;
}

/** Two classes, by the mean over all tokens. */
export class SmallTransformer extends Module {
  readonly table: Parameter;
  readonly blocks: readonly Block[];
  readonly score: Affine;

  constructor({ hidden, heads, layers, rows }: Size) {
    super();
    const random = new RandomGenerator(3);
    const values = new Float32Array(rows * hidden);
    random.fillNormal(values);
    this.table = new Parameter(tf.tensor2d(values, [rows, hidden]));
    this.blocks = Array.from({ length: layers }, () => new Block(hidden, heads, random));
    this.score = new Affine(2, hidden, random);
  }

  forward({ ids, labels }: Tokens): Output {
    return tf.tidy(() => {
      const mask = tf.onesLike(ids);
      let hidden = embeddingLookup(this.table, ids);
      for (const block of this.blocks) hidden = block.forward(hidden, mask);
      const logits = this.score.forward(tf.mean(hidden, 1));
      return { ...crossEntropy(logits, labels), logits, hidden };
    });
  }
}

/** Token ids and labels that follow from nothing but `seed`. */
export function tokens(batch: number, seq: number, rows: number, seed: number): Tokens {
  const draw = (count: number, below: number): Int32Array =>
    Int32Array.from({ length: count }, (_, i) => (((i + 7 * seed + 3) * 48271) % 2147483647) % below);
  return {
    ids: tf.tensor2d(draw(batch * seq, rows), [batch, seq], 'int32'),
    labels: tf.tensor1d(draw(batch, 2), 'int32'),
  };
}
