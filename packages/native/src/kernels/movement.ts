/** Kernels that move elements: slices, transposes, tiles, joins. Results are stored as the operand is. */
import { tf } from '@tensorloom/core';
import { addon, storageCodes } from '../addon.ts';
import type { NativeBackend } from '../backend.ts';
import { int32s, kernelWhere, sizeOf, type NativeKernel } from './kernel.ts';

interface Inputs {
  readonly x: tf.TensorInfo;
}

interface StridedSliceAttributes {
  readonly begin: number[];
  readonly end: number[];
  readonly strides: number[];
  readonly beginMask: number;
  readonly endMask: number;
  readonly ellipsisMask: number;
  readonly newAxisMask: number;
  readonly shrinkAxisMask: number;
}

const isStored = ({ dtype }: tf.TensorInfo): boolean => dtype in storageCodes;

/** A tensor of `shape` from elements of `x` that lie `strides` apart along its axes. */
function rearrange(
  backend: NativeBackend,
  x: tf.TensorInfo,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
  finalShape = shape,
): tf.TensorInfo {
  return backend.fromHandle(
    addon().rearrange(backend.handle(x), offset, int32s('shape', shape), int32s('strides', strides)),
    finalShape,
    x.dtype,
  );
}

/** From one element to the next along each axis. */
function stridesOf(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * shape[i + 1]!;
  return strides;
}

function slice(
  backend: NativeBackend,
  x: tf.TensorInfo,
  begin: readonly number[],
  size: number[],
  shape: readonly number[] = size,
): tf.TensorInfo {
  if (tf.util.arraysEqual(size, x.shape)) return backend.share(x, shape);
  const strides = stridesOf(x.shape);
  const offset = begin.reduce((sum, start, i) => sum + start * strides[i]!, 0);
  return rearrange(backend, x, sizeOf(size) === 0 ? 0 : offset, size, strides, shape);
}

/** Slices along an axis, one after the other, of these lengths. */
function split(backend: NativeBackend, x: tf.TensorInfo, axis: number, lengths: readonly number[], keepAxis: boolean) {
  const begin = x.shape.map(() => 0);
  return lengths.map((length) => {
    const size = x.shape.with(axis, length);
    const part = slice(backend, x, begin, size, keepAxis ? size : size.toSpliced(axis, 1));
    begin[axis] = begin[axis]! + length;
    return part;
  });
}

function join(backend: NativeBackend, tensors: readonly tf.TensorInfo[], axis: number, shape: number[]): tf.TensorInfo {
  const parts = Uint32Array.from(tensors, (tensor) => backend.handle(tensor));
  return backend.fromHandle(addon().join(sizeOf(shape.slice(0, axis)), parts), shape, tensors[0]!.dtype);
}

export const movementKernels: readonly NativeKernel[] = [
  kernelWhere<Inputs, { readonly perm: readonly number[] }>(
    'Transpose',
    ({ x }) => isStored(x),
    (backend, { x }, { perm }) => {
      const shape = perm.map((axis) => x.shape[axis]!);
      // Axes of one element may go anywhere.
      const moved = perm.filter((axis) => x.shape[axis] !== 1);
      if (moved.every((axis, i) => i === 0 || moved[i - 1]! < axis)) return backend.share(x, shape);
      const strides = stridesOf(x.shape);
      return rearrange(
        backend,
        x,
        0,
        shape,
        perm.map((axis) => strides[axis]!),
      );
    },
  ),
  kernelWhere<Inputs, { readonly begin: number[]; readonly size: number[] }>(
    'Slice',
    ({ x }) => isStored(x),
    (backend, { x }, attributes) => {
      const [begin, size] = tf.slice_util.parseSliceParams(x, attributes.begin, attributes.size) as [
        number[],
        number[],
      ];
      tf.slice_util.assertParamsValid(x, begin, size);
      return slice(backend, x, begin, size);
    },
  ),
  kernelWhere<Inputs, StridedSliceAttributes>(
    'StridedSlice',
    ({ x }) => isStored(x),
    (backend, { x }, attributes) => {
      const info = tf.slice_util.sliceInfo(
        x.shape,
        attributes.begin,
        attributes.end,
        attributes.strides,
        attributes.beginMask,
        attributes.endMask,
        attributes.ellipsisMask,
        attributes.newAxisMask,
        attributes.shrinkAxisMask,
      );
      const { begin, finalShape, finalShapeSparse } = info;
      if (info.isIdentity) return backend.share(x, finalShape);
      if (info.sliceDim0 || info.isSimpleSlice)
        return slice(backend, x, begin, tf.slice_util.computeOutShape(begin, info.end, info.strides), finalShape);
      const strides = stridesOf(x.shape);
      const offset = begin.reduce((sum, start, i) => sum + start * strides[i]!, 0);
      return rearrange(
        backend,
        x,
        sizeOf(finalShape) === 0 ? 0 : offset,
        finalShapeSparse,
        strides.map((stride, i) => stride * info.strides[i]!),
        finalShape,
      );
    },
  ),
  kernelWhere<Inputs, { readonly dims: number | number[] }>(
    'Reverse',
    ({ x }) => isStored(x),
    (backend, { x }, { dims }) => {
      const axes = tf.util.parseAxisParam(dims, x.shape).filter((axis) => x.shape[axis]! > 1);
      if (axes.length === 0 || sizeOf(x.shape) === 0) return backend.share(x);
      const strides = stridesOf(x.shape);
      let offset = 0;
      for (const axis of axes) {
        offset += (x.shape[axis]! - 1) * strides[axis]!;
        strides[axis] = -strides[axis]!;
      }
      return rearrange(backend, x, offset, x.shape, strides);
    },
  ),
  kernelWhere<Inputs, { readonly reps: readonly number[] }>(
    'Tile',
    ({ x }) => isStored(x),
    (backend, { x }, { reps }) => {
      const strides = stridesOf(x.shape);
      return rearrange(
        backend,
        x,
        0,
        x.shape.flatMap((length, i) => [reps[i]!, length]),
        strides.flatMap((stride) => [0, stride]),
        x.shape.map((length, i) => length * reps[i]!),
      );
    },
  ),
  kernelWhere<Inputs, { readonly paddings: readonly (readonly [number, number])[]; readonly constantValue: number }>(
    'PadV2',
    ({ x }) => isStored(x),
    (backend, { x }, { paddings, constantValue }) => {
      const shape = x.shape.map((length, i) => paddings[i]![0] + length + paddings[i]![1]);
      const begin = int32s(
        'paddings',
        paddings.map(([before]) => before),
      );
      const padded = addon().pad(
        backend.handle(x),
        int32s('shape', x.shape),
        begin,
        int32s('shape', shape),
        constantValue,
      );
      return backend.fromHandle(padded, shape, x.dtype);
    },
  ),
  kernelWhere<readonly tf.TensorInfo[], { readonly axis: number }>(
    'Concat',
    (inputs) => inputs.every(isStored),
    (backend, inputs, attributes) => {
      const shapes = inputs.map(({ shape }) => shape);
      const axis = tf.util.parseAxisParam(attributes.axis, shapes[0]!)[0]!;
      tf.backend_util.assertParamsConsistent(shapes, axis);
      const filled = inputs.filter(({ shape }) => sizeOf(shape) > 0);
      if (filled.length === 1) return backend.share(filled[0]!);
      return join(backend, filled.length === 0 ? inputs : filled, axis, tf.backend_util.computeOutShape(shapes, axis));
    },
  ),
  kernelWhere<readonly tf.TensorInfo[], { readonly axis: number }>(
    'Pack',
    (inputs) => inputs.every(isStored),
    (backend, inputs, { axis }) => {
      const { shape, dtype } = inputs[0]!;
      for (const other of inputs) {
        tf.util.assertShapesMatch(shape, other.shape, 'All tensors passed to stack must have matching shapes');
        tf.util.assert(dtype === other.dtype, () => 'All tensors passed to stack must have matching dtypes');
      }
      const place = axis < 0 ? axis + shape.length + 1 : axis;
      return join(backend, inputs, place, shape.toSpliced(place, 0, inputs.length));
    },
  ),
  kernelWhere<{ readonly value: tf.TensorInfo }, { readonly axis: number }>(
    'Unpack',
    ({ value }) => isStored(value),
    (backend, { value }, { axis }) => {
      const place = axis < 0 ? axis + value.shape.length : axis;
      const lengths = Array.from({ length: value.shape[place]! }, () => 1);
      return split(backend, value, place, lengths, false);
    },
  ),
  kernelWhere<Inputs, { readonly numOrSizeSplits: number | number[]; readonly axis: number }>(
    'SplitV',
    ({ x }) => isStored(x),
    (backend, { x }, { numOrSizeSplits, axis }) => {
      const place = tf.util.parseAxisParam(axis, x.shape)[0]!;
      const lengths = tf.backend_util.prepareSplitSize(x, numOrSizeSplits, place);
      return split(backend, x, place, lengths, true);
    },
  ),
  kernelWhere<
    { readonly x: tf.TensorInfo; readonly indices: tf.TensorInfo },
    { readonly axis: number; readonly batchDims?: number }
  >(
    'GatherV2',
    ({ x, indices }) => isStored(x) && indices.dtype === 'int32',
    (backend, { x, indices }, { axis, batchDims = 0 }) => {
      const place = tf.util.parseAxisParam(axis, x.shape)[0]!;
      const { batchSize, outerSize, dimSize, sliceSize, outputShape } =
        tf.backend_util.segment_util.collectGatherOpShapeInfo(x, indices, place, batchDims);
      const gathered = addon().gather(
        backend.handle(x),
        backend.handle(indices),
        batchSize,
        outerSize,
        dimSize,
        sliceSize,
        sizeOf(indices.shape) / batchSize,
      );
      return backend.fromHandle(gathered, outputShape, x.dtype);
    },
  ),
];
