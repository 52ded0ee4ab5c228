/** Gradients as they are in an open window, read to the host. */
import { RowSparse, type Parameter } from '@tensorloom/core';

/** A parameter's gradient as a dense array; zeros where it took no part. Gradients are sums over items until the step. */
export function readGradient(parameter: Parameter, items: number): Float32Array {
  const { grad } = parameter;
  const dense = new Float32Array(parameter.size);
  if (grad === null) return dense;
  if (!(grad instanceof RowSparse)) return Float32Array.from(grad.dataSync(), (value) => value / items);
  const width = grad.shape[1];
  const rows = grad.rows.dataSync();
  grad.indices.forEach((row, i) => {
    for (let column = 0; column < width; column++)
      dense[row * width + column] = (rows[i * width + column] as number) / items;
  });
  return dense;
}

/** The smallest size of each element's gradient over the steps of a run. */
export class SmallestGradients {
  readonly #smallest = new Map<string, Float32Array>();

  /** Looks at the gradients of a window (mean over its `items`) that is about to close. */
  add(parameters: Iterable<[string, Parameter]>, items: number): void {
    for (const [name, parameter] of parameters) {
      const sizes = readGradient(parameter, items).map(Math.abs);
      const before = this.#smallest.get(name);
      this.#smallest.set(
        name,
        before === undefined ? sizes : sizes.map((size, i) => Math.min(size, before[i] as number)),
      );
    }
  }

  /** Infinity for what was never looked at. */
  of(name: string, index: number): number {
    return this.#smallest.get(name)?.[index] ?? Infinity;
  }
}
