/** What an optimizer keeps for one parameter: its number of updates and its moments, dense or of the rows visited. */
import { labelMemory } from '../memory-label.ts';
import type { Parameter } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';
import { RowMoments } from './row-moments.ts';

export class ParameterState {
  steps = 0;
  /** Rows of the last row-sparse gradient. */
  lastRows: Int32Array = new Int32Array(0);
  #dense: Tensor[] | null = null;
  #rows: RowMoments | null = null;

  constructor(
    readonly parameter: Parameter,
    readonly momentNames: readonly string[],
  ) {}

  /** Whether row-sparse gradients are applied by rows: not once the state is dense, or the table is needed on the device as a whole. */
  get canUpdateRows(): boolean {
    return this.#dense === null && !this.parameter.pinnedToDevice;
  }

  /** Dense moments (zero at first), in the order of `momentNames`. They stay owned by this object. */
  get dense(): readonly Tensor[] {
    if (this.#dense === null) {
      this.#dense = (
        this.#rows?.toDense() ?? this.momentNames.map(() => tf.fill([...this.parameter.shape], 0, 'float32'))
      ).map((tensor) => labelMemory(tf.keep(tensor), 'optimizerState'));
      this.#rows?.dispose();
      this.#rows = null;
    }
    return this.#dense;
  }

  /** Replaces the dense moments, taking ownership. */
  set dense(next: readonly Tensor[]) {
    for (const tensor of this.#dense ?? []) if (!next.includes(tensor)) tensor.dispose();
    this.#dense = next.map((tensor) => labelMemory(tf.keep(tensor), 'optimizerState'));
  }

  /** Moments by row. Only while `canUpdateRows`. */
  get rows(): RowMoments {
    const [numRows, width] = this.parameter.shape as [number, number];
    return (this.#rows ??= new RowMoments(numRows, width, this.momentNames.length));
  }

  /** The moments by name; with `rows` if they are those of some rows. */
  tensors(): Record<string, Tensor> {
    if (this.momentNames.length === 0) return {};
    const [names, tensors] =
      this.#rows === null
        ? [this.momentNames, this.#dense ?? []]
        : [['rows', ...this.momentNames], this.#rows.tensors(this.parameter.placement?.firstRow)];
    return Object.fromEntries(tensors.map((tensor, i) => [names[i] as string, tensor]));
  }

  /** Bytes held by moments. */
  get bytes(): number {
    return (this.#dense ?? []).reduce((sum, { size }) => sum + 4 * size, this.#rows?.bytes ?? 0);
  }

  dispose(): void {
    for (const tensor of this.#dense ?? []) tensor.dispose();
    this.#rows?.dispose();
    this.#dense = this.#rows = null;
  }
}
