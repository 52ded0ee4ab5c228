/** Comparing results with references: the worst element of each thing compared, relative to its own bound. */

/** One line of the table. */
export interface Check {
  /** Name of the case: its path in the folder without the extension. */
  readonly case: string;
  /** What was compared: `logits`, `gradients`, `adam parameters`, … */
  readonly what: string;
  /** Where the worst error is: the tensor's name and the flat index in it; empty for a single value. */
  readonly where: string;
  /** The error that comes nearest to (or is furthest over) its bound; NaN where a value is not finite. */
  readonly error: number;
  readonly bound: number;
  readonly ok: boolean;
  /** Every tensor with an element over its bound. */
  readonly over: readonly string[];
}

/** Gathers elements that are compared under one heading, each with a bound of its own. */
export class Comparison {
  #worst: { where: string; error: number; bound: number } | undefined;
  readonly #over = new Set<string>();

  constructor(
    readonly caseName: string,
    readonly what: string,
  ) {}

  /** Compares one number. */
  value(where: string, actual: number, expected: number, bound: number): void {
    this.#note(where, where, Math.abs(actual - expected), bound);
  }

  /** Compares element by element; `bound` is one number, or one for each element. */
  tensor(
    name: string,
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    bound: number | ((index: number) => number | undefined),
  ): void {
    if (actual.length !== expected.length)
      throw new RangeError(
        `${this.caseName}: ${name} has ${actual.length} elements, its reference has ${expected.length}`,
      );
    let worst: { index: number; error: number; bound: number } | undefined;
    for (let i = 0; i < expected.length; i++) {
      const limit = typeof bound === 'number' ? bound : bound(i);
      if (limit === undefined) continue;
      const error = Math.abs((actual[i] as number) - (expected[i] as number));
      if (worst === undefined || excess(error, limit) > excess(worst.error, worst.bound))
        worst = { index: i, error, bound: limit };
    }
    if (worst !== undefined)
      this.#note(expected.length === 1 ? name : `${name}[${worst.index}]`, name, worst.error, worst.bound);
  }

  /** The line of the table, or nothing if nothing was compared. */
  check(): Check | undefined {
    const worst = this.#worst;
    if (worst === undefined) return undefined;
    return { case: this.caseName, what: this.what, ...worst, ok: this.#over.size === 0, over: [...this.#over] };
  }

  #note(where: string, tensor: string, error: number, bound: number): void {
    if (!(error <= bound)) this.#over.add(tensor);
    if (this.#worst === undefined || excess(error, bound) > excess(this.#worst.error, this.#worst.bound))
      this.#worst = { where, error, bound };
  }
}

/** How much of the bound an error uses up; what is not a number is worse than anything. */
function excess(error: number, bound: number): number {
  if (Number.isNaN(error)) return Infinity;
  return bound === 0 ? (error === 0 ? 0 : Number.MAX_VALUE) : error / bound;
}

/** Largest absolute value; 0 for an empty tensor. */
export function largest(values: ArrayLike<number>): number {
  let result = 0;
  for (let i = 0; i < values.length; i++) result = Math.max(result, Math.abs(values[i] as number));
  return result;
}
