/** BLOOM's feed-forward part: hidden → 4 hidden, tanh GELU, 4 hidden → hidden. */
import { dropout, geluTanh, globalRandom, Module, type Tensor } from '@tensorloom/core';
import type { BloomConfig } from './config.ts';
import type { Initializer } from './initialization.ts';
import { Linear } from './layers.ts';

export class BloomMlp extends Module {
  readonly denseHTo4h: Linear;
  readonly dense4hToH: Linear;
  readonly #hiddenDropout: number;

  constructor(config: BloomConfig, initializer: Initializer) {
    super();
    this.#hiddenDropout = config.hiddenDropout;
    this.denseHTo4h = new Linear(config.hiddenSize, 4 * config.hiddenSize, initializer);
    this.dense4hToH = new Linear(4 * config.hiddenSize, config.hiddenSize, initializer);
  }

  /** `hidden` and `residual` [batch, seq, hidden]; the residual is added to the result. */
  override forward(hidden: Tensor, residual: Tensor): Tensor {
    const output = this.dense4hToH.forward(geluTanh(this.denseHTo4h.forward(hidden)));
    return (
      this.training && this.#hiddenDropout > 0 ? dropout(output, this.#hiddenDropout, globalRandom()) : output
    ).add(residual);
  }
}
