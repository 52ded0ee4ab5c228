/** Reductions along any axes, where the extreme is, and cumulative sums. */
import { tf } from '@tensorloom/core';
import { addon, storageCodes, type Handle } from '../addon.ts';
import { kernelWhere, sizeOf, type NativeKernel } from './kernel.ts';

/** What elements are combined to, by the engine's code. */
const reductions = { sum: 0, max: 1, min: 2, product: 3 } as const;
type Reduction = keyof typeof reductions;

interface Inputs {
  readonly x: tf.TensorInfo;
}

interface Attributes {
  readonly axis?: number | number[] | null;
  /** As tfjs's Max has it. */
  readonly reductionIndices?: number | number[] | null;
  readonly keepDims?: boolean;
}

/** What a kernel makes of a type; types that are not here are left to tfjs's kernel. */
type ResultTypes = Partial<Record<tf.DataType, 'float32' | 'int32' | 'bool'>>;

const summable: ResultTypes = { float32: 'float32', int32: 'int32', bool: 'int32' };
const ordered: ResultTypes = { float32: 'float32', int32: 'int32', bool: 'bool' };

export const reductionKernels: readonly NativeKernel[] = [
  reduction('Sum', 'sum', summable),
  reduction('Mean', 'sum', { float32: 'float32' }),
  reduction('Prod', 'product', summable),
  reduction('Max', 'max', ordered),
  reduction('Min', 'min', ordered),
  reduction('Any', 'max', { bool: 'bool' }),
  reduction('All', 'min', { bool: 'bool' }),
  extreme('ArgMax', true),
  extreme('ArgMin', false),
  kernelWhere<Inputs, { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean }>(
    'Cumsum',
    ({ x }, { axis }) => summable[x.dtype] !== undefined && isLast(axis, x),
    (backend, { x }, { exclusive, reverse }) => {
      const sums = addon().cumulativeSum(backend.handle(x), x.shape.at(-1) ?? 1, exclusive, reverse);
      return backend.fromHandle(sums, x.shape, summable[x.dtype]);
    },
  ),
];

function reduction(kernelName: string, combine: Reduction, types: ResultTypes): NativeKernel {
  return kernelWhere<Inputs, Attributes>(
    kernelName,
    ({ x }) => types[x.dtype] !== undefined && sizeOf(x.shape) > 0,
    (backend, { x }, { axis, reductionIndices, keepDims }) => {
      const type = types[x.dtype] as 'float32' | 'int32' | 'bool';
      const axes = tf.util.parseAxisParam((axis ?? reductionIndices) as number[], x.shape);
      const [kept] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes);
      const shape = keepDims === true ? tf.backend_util.expandShapeToKeepDim(kept, axes) : kept;
      const count = sizeOf(x.shape) / sizeOf(shape);
      if (count === 1 && type === x.dtype) return backend.share(x, shape);
      const factor = kernelName === 'Mean' ? 1 / count : 1;
      const result = reduce(backend.handle(x), runsOf(x.shape, axes), combine, factor, storageCodes[type]);
      return backend.fromHandle(result, shape, type);
    },
  );
}

function extreme(kernelName: string, largest: boolean): NativeKernel {
  return kernelWhere<Inputs, { readonly axis: number }>(
    kernelName,
    ({ x }, { axis }) => (x.dtype === 'float32' || x.dtype === 'int32') && isLast(axis, x) && sizeOf(x.shape) > 0,
    (backend, { x }) => {
      const indices = addon().argReduce(backend.handle(x), largest, x.shape.at(-1) ?? 1);
      return backend.fromHandle(indices, x.shape.slice(0, -1), 'int32');
    },
  );
}

function isLast(axis: number | number[], { shape }: tf.TensorInfo): boolean {
  const axes = tf.util.parseAxisParam(axis, shape);
  return axes.length === 1 && axes[0] === shape.length - 1;
}

/** A run of axes that lie together. */
interface Run {
  readonly size: number;
  readonly reduced: boolean;
}

/** The axes as runs, without those of length 1. */
function runsOf(shape: readonly number[], axes: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const reduced = axes.includes(axis);
    const last = runs.at(-1);
    if (last?.reduced === reduced) runs[runs.length - 1] = { size: last.size * size, reduced };
    else runs.push({ size, reduced });
  }
  return runs.some((run) => run.reduced) ? runs : [...runs, { size: 1, reduced: true }];
}

/** Reduces run by run, the last first. */
function reduce(x: Handle, runs: Run[], combine: Reduction, factor: number, storage: number): Handle {
  const sizes = (some: readonly Run[]): number => sizeOf(some.map((run) => run.size));
  const at = runs.findLastIndex((run) => run.reduced);
  const outerRuns = runs.slice(0, at);
  const isLastStep = !outerRuns.some((run) => run.reduced);
  const inner = runs.slice(at + 1);
  const result = addon().reduce(
    x,
    reductions[combine],
    sizes(outerRuns),
    (runs[at] as Run).size,
    sizes(inner),
    isLastStep ? factor : 1,
    storage,
  );
  if (isLastStep) return result;
  try {
    return reduce(result, [...outerRuns, ...inner], combine, factor, storage);
  } finally {
    addon().free(result);
  }
}
