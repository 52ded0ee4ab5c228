/** A trainable tensor with its gradient. */
import type { RowSparse } from '../autograd/row-sparse.ts';
import type { Tensor } from '../tensors.ts';
import { tf } from '../tensors.ts';

/** A gradient is dense, or, for embedding tables, the rows that occurred. Its values are sums over items (see Strategy). */
export type Gradient = Tensor | RowSparse;

export class Parameter {
  /** Where gradients land; `null` until the first backward and after `zeroGrad`. Owned by the parameter. */
  grad: Gradient | null = null;
  /** `false` freezes it: no gradient is computed, optimizers leave it alone. */
  requiresGrad = true;
  /** Full name in the module tree (`transformer.h.0.mlp.dense_h_to_4h.weight`), set when the module is set up or walked. */
  name = '';
  #value: Tensor;

  /** Takes ownership of `value`, float32. */
  constructor(value: Tensor) {
    this.#value = tf.keep(value);
  }

  /** The current value; do not dispose. */
  get value(): Tensor {
    return this.#value;
  }

  get shape(): readonly number[] {
    return this.#value.shape;
  }

  get size(): number {
    return this.#value.size;
  }

  /** Replaces the value (same shape), taking ownership of `next` and freeing the old one. */
  assign(next: Tensor): void {
    tf.util.assertShapesMatch(this.#value.shape, next.shape, `Parameter ${this.name}: `);
    const previous = this.#value;
    this.#value = tf.keep(next);
    if (previous !== next) previous.dispose();
  }

  zeroGrad(): void {
    this.grad?.dispose();
    this.grad = null;
  }

  dispose(): void {
    this.zeroGrad();
    this.#value.dispose();
  }
}
