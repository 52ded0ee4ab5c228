/** Functions of one operand, element by element. */
import { tf } from '@tensorloom/core';
import { addon, storageCodes } from '../addon.ts';
import { kernel, kernelWhere, sizeOf, type NativeKernel } from './kernel.ts';

interface Inputs {
  readonly x: tf.TensorInfo;
}

/** By the code of the addon's `unary` (crates/addon/src/elementwise.rs). */
const functions = [
  'Abs',
  'Neg',
  'Exp',
  'Log',
  'Sqrt',
  'Rsqrt',
  'Square',
  'Reciprocal',
  'Sigmoid',
  'Tanh',
  'Relu',
  'Relu6',
  'Elu',
  'Sign',
  'Floor',
  'Ceil',
  'Round',
  'LeakyRelu',
  'Step',
  'ClipByValue',
];

/** By the code of the addon's `predicate`, with what they take. */
const predicates = [
  ['IsNan', 'float32'],
  ['IsInf', 'float32'],
  ['IsFinite', 'float32'],
  ['LogicalNot', 'bool'],
] as const;

interface Constants {
  readonly alpha?: number;
  readonly clipValueMin?: number;
  readonly clipValueMax?: number;
}

interface FillAttributes {
  readonly shape: number[];
  readonly value: number | string;
  readonly dtype?: tf.DataType;
}

const isStored = (dtype: tf.DataType): boolean => dtype in storageCodes;

/** How a constant is stored: exactly, whatever activations are. */
const exactly = (dtype: tf.DataType): number => storageCodes[dtype as keyof typeof storageCodes];

function constant(name: string, value: number): NativeKernel {
  return kernelWhere<Inputs>(
    name,
    ({ x }) => isStored(x.dtype),
    (backend, { x: { shape, dtype } }) =>
      backend.fromHandle(addon().filled(sizeOf(shape), value, exactly(dtype)), shape, dtype),
  );
}

export const unaryKernels: readonly NativeKernel[] = [
  ...functions.map((name, code) =>
    kernelWhere<Inputs, Constants>(
      name,
      ({ x }) => x.dtype === 'float32',
      (backend, { x }, { alpha, clipValueMin, clipValueMax }) =>
        backend.fromHandle(
          addon().unary(
            code,
            backend.handle(x),
            alpha ?? clipValueMin ?? 0,
            clipValueMax ?? 0,
            backend.storageFor(x.shape),
          ),
          x.shape,
        ),
    ),
  ),
  ...predicates.map(([name, dtype], code) =>
    kernelWhere<Inputs>(
      name,
      ({ x }) => x.dtype === dtype,
      (backend, { x }) => backend.fromHandle(addon().predicate(code, backend.handle(x)), x.shape, 'bool'),
    ),
  ),
  kernelWhere<Inputs, { readonly dtype: tf.DataType }>(
    'Cast',
    ({ x }, { dtype }) => isStored(x.dtype) && isStored(dtype),
    (backend, { x }, { dtype }) =>
      x.dtype === dtype
        ? backend.share(x)
        : backend.fromHandle(
            addon().cast(backend.handle(x), dtype === 'float32' ? backend.storageFor(x.shape) : exactly(dtype)),
            x.shape,
            dtype,
          ),
  ),
  kernelWhere<object, FillAttributes>(
    'Fill',
    (_, { value, dtype = tf.util.inferDtype(value) }) => isStored(dtype),
    (backend, _, { shape, value, dtype = tf.util.inferDtype(value) }) =>
      backend.fromHandle(addon().filled(sizeOf(shape), Number(value), exactly(dtype)), shape, dtype),
  ),
  kernel<object, { readonly shape: number[] }>('Zeros', (backend, _, { shape }) =>
    backend.fromHandle(addon().filled(sizeOf(shape), 0, backend.storageFor(shape)), shape),
  ),
  constant('ZerosLike', 0),
  constant('OnesLike', 1),
];
