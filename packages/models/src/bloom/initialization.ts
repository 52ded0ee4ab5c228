/** First values of parameters, as published: weights normal(0, initializer_range), biases 0, LayerNorm 1 and 0. */
import { globalRandom, Parameter, tf, zeros, type RandomGenerator } from '@tensorloom/core';

/** How a model is built. */
export interface BuildOptions {
  /** Source of random weights; default the generator that `seedEverything` seeds. */
  readonly random?: RandomGenerator;
  /** Leave weights zero, since they will be loaded: no time goes into random numbers. */
  readonly emptyInit?: boolean;
}

/** Makes the parameters of a model that is being built. */
export class Initializer {
  readonly #standardDeviation: number;
  readonly #options: BuildOptions;

  constructor(standardDeviation: number, options: BuildOptions = {}) {
    this.#standardDeviation = standardDeviation;
    this.#options = options;
  }

  /** Weights of linear layers and embeddings. BLOOM's embedding has no padding row: all rows are random. */
  weight(shape: readonly number[]): Parameter {
    if (this.#options.emptyInit === true) return new Parameter(zeros(shape));
    const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
    (this.#options.random ?? globalRandom()).fillNormal(values, 0, this.#standardDeviation);
    return new Parameter(tf.tensor(values, [...shape], 'float32'));
  }

  zeros(size: number): Parameter {
    return new Parameter(zeros([size]));
  }

  ones(size: number): Parameter {
    return new Parameter(tf.ones([size]));
  }
}
