/** The three layers that BLOOM is made of, with Hugging Face's parameter names. */
import { embeddingLookup, layerNorm, linear, Module, type Parameter, type Tensor } from '@tensorloom/core';
import type { Initializer } from './initialization.ts';

/** y = x · weightᵀ + bias, weight [out, in] as in PyTorch. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(inputs: number, outputs: number, initializer: Initializer) {
    super();
    this.weight = initializer.weight([outputs, inputs]);
    this.bias = initializer.zeros(outputs);
  }

  /** [..., in] → [..., out] */
  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

/** The classification head: a linear layer without bias. */
export class BiaslessLinear extends Module {
  readonly weight: Parameter;

  constructor(inputs: number, outputs: number, initializer: Initializer) {
    super();
    this.weight = initializer.weight([outputs, inputs]);
  }

  /** [..., in] → [..., out] */
  override forward(x: Tensor): Tensor {
    return linear(x, this.weight);
  }
}

/** Normalises over the last dimension (Ba, Kiros, Hinton 2016). */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly #epsilon: number;

  constructor(size: number, epsilon: number, initializer: Initializer) {
    super();
    this.weight = initializer.ones(size);
    this.bias = initializer.zeros(size);
    this.#epsilon = epsilon;
  }

  /** [..., size] → [..., size] */
  override forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.#epsilon);
  }
}

/** A table of vectors; its gradient is the rows that occurred (RowSparse), never a dense table. */
export class Embedding extends Module {
  readonly weight: Parameter;

  constructor(rows: number, width: number, initializer: Initializer) {
    super();
    this.weight = initializer.weight([rows, width]);
  }

  /** int32 [...] → [..., width] */
  override forward(ids: Tensor): Tensor {
    return embeddingLookup(this.weight, ids);
  }
}
