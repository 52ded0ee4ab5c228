/** The gradients of an open accumulation window as named tensors, and back. */
import { RowSparse } from '../autograd/row-sparse.ts';
import { TensorloomError } from '../errors.ts';
import type { Gradient, Parameter } from '../modules/parameter.ts';
import type { JsonObject, StoredState, StoredTensor } from '../stateful.ts';
import { tf, type Tensor } from '../tensors.ts';
import type { Reduction } from './reduction.ts';

const indicesSuffix = '.indices';
const rowsSuffix = '.rows';
const shardSuffix = '.shard';

/**
 * This rank's gradients by name: live ones, and those that had to be `made` for it, which the caller frees. Gradients of shards
 * are told with the number of their first row.
 */
export function storeGradients(
  parameters: ReadonlyMap<string, Parameter>,
  reduction: Pick<Reduction, 'shardOf'>,
): { tensors: Record<string, Tensor>; made: Tensor[]; firstRows: Record<string, number> } {
  const tensors: Record<string, Tensor> = {};
  const made: Tensor[] = [];
  const firstRows: Record<string, number> = {};
  const store = (name: string, { grad }: Parameter): void => {
    if (grad instanceof RowSparse) {
      const indices = tf.keep(tf.tensor1d(grad.indices, 'int32'));
      made.push(indices);
      tensors[name + indicesSuffix] = indices;
      tensors[name + rowsSuffix] = grad.rows;
    } else if (grad !== null) tensors[name] = grad;
  };
  for (const [name, parameter] of parameters) {
    store(name, parameter);
    const shard = reduction.shardOf?.(parameter);
    if (!shard || shard.parameter === parameter || shard.parameter.grad === null) continue;
    store(name + shardSuffix, shard.parameter);
    firstRows[name] = shard.firstRow;
  }
  return { tensors, made, firstRows };
}

/** A window on its way back: counts, and how to make the gradient of each parameter that has one. */
export interface StoredWindow {
  readonly items: number;
  readonly microBatches: number;
  readonly scale: number;
  readonly gradients: readonly (readonly [Parameter, () => Gradient])[];
}

/**
 * This rank's part of a stored window. If it was stored by another number of ranks, all of it is rank zero's.
 * @throws TensorloomError `BAD_CHECKPOINT` naming everything that does not fit
 */
export function readWindow(
  state: StoredState,
  parameters: ReadonlyMap<string, Parameter>,
  reduction: Pick<Reduction, 'rank' | 'worldSize' | 'shardOf'>,
): StoredWindow {
  const { rank, worldSize } = reduction;
  const byRank = state.byRank ?? [state];
  if (byRank.length === worldSize) {
    const own = state.byRank?.[rank] ?? state;
    return { ...readCounts(own), gradients: readGradients([own], parameters, reduction) };
  }
  const counts = byRank.map(readCounts);
  const sum = (pick: (count: (typeof counts)[0]) => number) => counts.reduce((total, count) => total + pick(count), 0);
  return {
    items: rank === 0 ? sum(({ items }) => items) : 0,
    microBatches: Math.ceil(sum(({ microBatches }) => microBatches) / worldSize),
    scale: counts[0]?.scale ?? 1,
    // Shards of another number of ranks are of other rows.
    gradients: readGradients(rank === 0 ? byRank : [], parameters, {}),
  };
}

function readCounts({ values }: StoredState): Pick<StoredWindow, 'items' | 'microBatches' | 'scale'> {
  const { items, microBatches, scale } = values;
  if (typeof items !== 'number' || typeof microBatches !== 'number' || typeof scale !== 'number' || !(scale > 0))
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      'The stored accumulation window has no counts of items and micro-batches, or no loss scale.',
    );
  return { items, microBatches, scale };
}

function readGradients(
  states: readonly StoredState[],
  parameters: ReadonlyMap<string, Parameter>,
  reduction: Pick<Reduction, 'shardOf'>,
): [Parameter, () => Gradient][] {
  const problems: string[] = [];
  const gradients: [Parameter, () => Gradient][] = [];
  for (const { tensors, values } of states)
    for (const [key, stored] of tensors) {
      if (key.endsWith(indicesSuffix)) continue;
      const table = key.endsWith(rowsSuffix) ? key.slice(0, -rowsSuffix.length) : null;
      const indices = table === null ? undefined : tensors.get(table + indicesSuffix);
      const piece = indices === undefined ? key : (table as string);
      const isShard = piece.endsWith(shardSuffix) && !parameters.has(piece);
      const name = isShard ? piece.slice(0, -shardSuffix.length) : piece;
      const parameter = parameters.get(name);
      if (parameter === undefined) {
        problems.push(`unexpected: ${key} (set up the modules before loading)`);
        continue;
      }
      const firstRow = isShard ? firstRowOf(values, name) : 0;
      const target = isShard ? sameShard(parameter, firstRow, stored, indices, reduction) : parameter;
      const problem = misfit(key, stored, indices, parameter, isShard ? firstRow : null);
      if (problem !== null) problems.push(problem);
      else gradients.push([target, gradientMaker(stored, indices, target, parameter, firstRow, isShard)]);
    }
  if (problems.length > 0)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `The stored accumulation window does not fit:\n  ${problems.join('\n  ')}`,
    );
  return gradients;
}

function firstRowOf(values: JsonObject, name: string): number {
  const rows = values['firstRows'] as JsonObject | null | undefined;
  const row = typeof rows === 'object' && rows !== null ? rows[name] : undefined;
  return typeof row === 'number' && Number.isInteger(row) && row >= 0 ? row : -1;
}

/** This rank's shard if the stored piece is of the same rows; else the whole parameter. */
function sameShard(
  parameter: Parameter,
  firstRow: number,
  stored: StoredTensor,
  indices: StoredTensor | undefined,
  reduction: Pick<Reduction, 'shardOf'>,
): Parameter {
  const shard = reduction.shardOf?.(parameter);
  if (!shard || shard.firstRow !== firstRow) return parameter;
  const isSame = indices !== undefined || (shard.parameter.shape[0] ?? 1) === (stored.shape[0] ?? 1);
  return isSame ? shard.parameter : parameter;
}

/** @param firstRow of a shard; null for what is of the whole parameter */
function misfit(
  key: string,
  stored: StoredTensor,
  indices: StoredTensor | undefined,
  parameter: Parameter,
  firstRow: number | null,
): string | null {
  const [numRows = 1, ...rest] = parameter.shape;
  const count = firstRow === null && indices === undefined ? numRows : (indices?.shape[0] ?? stored.shape[0] ?? 1);
  const expected = parameter.shape.length === 0 ? [] : [count, ...rest];
  if (!tf.util.arraysEqual([...stored.shape], [...expected]))
    return `shape of ${key}: stored [${stored.shape.join(', ')}], expected [${expected.join(', ')}]`;
  if (firstRow !== null && (firstRow < 0 || firstRow + (indices === undefined ? count : 0) > numRows))
    return `rows of ${key}: stored from row ${firstRow} on, but it has ${numRows} rows`;
  return null;
}

function gradientMaker(
  stored: StoredTensor,
  indices: StoredTensor | undefined,
  target: Parameter,
  parameter: Parameter,
  firstRow: number,
  isShard: boolean,
): () => Gradient {
  return () => {
    const { data } = stored.read();
    if (indices !== undefined) {
      // Row numbers of a shard's gradient count from its first row.
      const rows = indices.read().data as Int32Array;
      const numbers = target === parameter && isShard ? rows.map((row) => row + firstRow) : rows;
      return new RowSparse(numbers, tf.tensor(data, [...stored.shape], 'float32'), target.shape[0] as number);
    }
    if (target === parameter && isShard) {
      const whole = new Float32Array(parameter.size);
      whole.set(data, firstRow * (parameter.size / (parameter.shape[0] ?? 1)));
      return tf.tensor(whole, [...parameter.shape], 'float32');
    }
    return tf.tensor(data, [...stored.shape], 'float32');
  };
}
