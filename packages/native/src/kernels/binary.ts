/** Functions of two operands, element by element, with broadcasting. */
import { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import type { NativeBackend } from '../backend.ts';
import { int32s, kernelWhere, sizeOf, type NativeKernel } from './kernel.ts';

interface Inputs {
  readonly a: tf.TensorInfo;
  readonly b: tf.TensorInfo;
}

/** By the code of the addon's `binary` (crates/addon/src/elementwise.rs). */
const functions = ['Add', 'Sub', 'Multiply', 'Maximum', 'Minimum', 'RealDiv', 'Pow', 'SquaredDifference'];
/** Those from here on are of floats only. */
const firstOfFloats = functions.indexOf('RealDiv');

/** By the code of the addon's `compare`. */
const comparisons = [
  'Equal',
  'NotEqual',
  'Less',
  'LessEqual',
  'Greater',
  'GreaterEqual',
  'LogicalAnd',
  'LogicalOr',
  'LogicalXor',
];
/** Those from here on are of booleans only. */
const firstOfBooleans = comparisons.indexOf('LogicalAnd');

const are = ({ a, b }: Inputs, ...dtypes: tf.DataType[]): boolean => a.dtype === b.dtype && dtypes.includes(a.dtype);

const one = Int32Array.of(1);

/** All elements in one axis, if its length is below 2^31. */
function flat(shape: readonly number[]): Int32Array {
  const size = sizeOf(shape);
  return size < 2 ** 31 ? Int32Array.of(size) : int32s('shape', shape);
}

/** The shapes as the addon takes them, and the result's. */
function shapesOf({ a, b }: Inputs): [Int32Array, Int32Array, number[]] {
  if (tf.util.arraysEqual(a.shape, b.shape)) {
    const shape = flat(a.shape);
    return [shape, shape, a.shape];
  }
  const result = tf.backend_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const shape = (operand: tf.TensorInfo): Int32Array =>
    operand.shape.length === 0 ? one : int32s('shape', operand.shape);
  return [shape(a), shape(b), result];
}

function add(backend: NativeBackend, a: tf.TensorInfo, b: tf.TensorInfo): tf.TensorInfo {
  const shape = flat(a.shape);
  const sum = addon().binary(0, backend.handle(a), shape, backend.handle(b), shape, backend.storageFor(a.shape));
  return backend.fromHandle(sum, a.shape, a.dtype);
}

export const binaryKernels: readonly NativeKernel[] = [
  ...functions.map((name, code) =>
    kernelWhere<Inputs>(
      name,
      (inputs) => are(inputs, 'float32', ...(code < firstOfFloats ? (['int32'] as const) : [])),
      (backend, inputs) => {
        const [aShape, bShape, shape] = shapesOf(inputs);
        const { a, b } = inputs;
        return backend.fromHandle(
          addon().binary(code, backend.handle(a), aShape, backend.handle(b), bShape, backend.storageFor(shape)),
          shape,
          a.dtype,
        );
      },
    ),
  ),
  ...comparisons.map((name, code) =>
    kernelWhere<Inputs>(
      name,
      (inputs) => are(inputs, 'bool', ...(code < firstOfBooleans ? (['float32', 'int32'] as const) : [])),
      (backend, inputs) => {
        const [aShape, bShape, shape] = shapesOf(inputs);
        const { a, b } = inputs;
        return backend.fromHandle(
          addon().compare(code, backend.handle(a), aShape, backend.handle(b), bShape),
          shape,
          'bool',
        );
      },
    ),
  ),
  kernelWhere<{ readonly condition: tf.TensorInfo; readonly t: tf.TensorInfo; readonly e: tf.TensorInfo }>(
    'Select',
    ({ condition, t, e }) =>
      condition.dtype === 'bool' &&
      are({ a: t, b: e }, 'float32', 'int32', 'bool') &&
      tf.util.arraysEqual(t.shape, e.shape) &&
      tf.util.arraysEqual(condition.shape, t.shape),
    (backend, { condition, t, e }) =>
      backend.fromHandle(
        addon().select(backend.handle(condition), backend.handle(t), backend.handle(e), backend.storageFor(t.shape)),
        t.shape,
        t.dtype,
      ),
  ),
  kernelWhere<readonly tf.TensorInfo[]>(
    'AddN',
    (inputs) => inputs.every(({ dtype }) => dtype === 'float32') && inputs.length > 1,
    (backend, [first, ...others]) =>
      others.reduce((sum, next) => {
        const total = add(backend, sum, next);
        if (sum !== first) backend.disposeData(sum.dataId);
        return total;
      }, first!),
  ),
];
