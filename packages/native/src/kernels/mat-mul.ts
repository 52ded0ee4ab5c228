/** Products of stacks of matrices, and tfjs's fused one, whose bias and activation are kernels after it. */
import { tf, TensorloomError } from '@tensorloom/core';
import { addon } from '../addon.ts';
import type { NativeBackend } from '../backend.ts';
import { kernel, sizeOf, type NativeKernel } from './kernel.ts';

interface Operands {
  readonly a: tf.TensorInfo;
  readonly b: tf.TensorInfo;
}

interface Transposes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

interface FusedOperands extends Operands {
  readonly bias?: tf.TensorInfo;
  readonly preluActivationWeights?: tf.TensorInfo;
}

interface FusedAttributes extends Transposes {
  readonly activation: keyof typeof activations | 'linear' | null;
  readonly leakyreluAlpha: number;
}

/** Names of the kernels that apply tfjs's activations. */
const activations = {
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
  prelu: 'Prelu',
  leakyrelu: 'LeakyRelu',
} as const;

export const matMulKernels: readonly NativeKernel[] = [
  kernel<Operands, Transposes>('BatchMatMul', batchMatMul),

  kernel<FusedOperands, FusedAttributes>('_FusedMatMul', (backend, operands, attributes) => {
    const { a, b, bias, preluActivationWeights } = operands;
    const { activation, leakyreluAlpha } = attributes;
    let result = batchMatMul(backend, { a, b }, attributes);
    if (bias !== undefined) result = replace(backend, result, 'Add', { a: result, b: bias });
    if (activation === null || activation === undefined || activation === 'linear') return result;
    const name = activations[activation];
    if (activation === 'prelu')
      return replace(backend, result, name, { x: result, alpha: preluActivationWeights as tf.TensorInfo });
    return replace(backend, result, name, { x: result }, { alpha: leakyreluAlpha });
  }),
];

function batchMatMul(
  backend: NativeBackend,
  { a, b }: Operands,
  { transposeA, transposeB }: Transposes,
): tf.TensorInfo {
  if (a.dtype !== 'float32' || b.dtype !== 'float32')
    return onCpu(backend, 'BatchMatMul', { a, b }, { transposeA, transposeB }) as tf.TensorInfo;
  const [m, k] = sides(a.shape, transposeA);
  const [inner, n] = sides(b.shape, transposeB);
  if (k !== inner)
    throw new TensorloomError(
      'BAD_DATA',
      `Error in matMul: inner shapes (${k}) and (${inner}) of Tensors with shapes ${a.shape.join(',')} and ${b.shape.join(',')} and transposeA=${transposeA} and transposeB=${transposeB} must match.`,
    );
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
  const product = addon().batchMatMul(
    backend.handle(a),
    backend.handle(b),
    broadcastIndices(batchA, batch),
    broadcastIndices(batchB, batch),
    m,
    n,
    k,
    transposeA,
    transposeB,
    backend.activationStorage,
  );
  return backend.fromHandle(product, [...batch, m, n]);
}

/** Rows and columns of the matrices of a stack, after a transpose. */
function sides(shape: readonly number[], transposed: boolean): [number, number] {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return transposed ? [columns, rows] : [rows, columns];
}

/** For each entry of shape `to`, the entry of the smaller shape `from` that is broadcast to it. */
export function broadcastIndices(from: readonly number[], to: readonly number[]): Int32Array {
  const indices = new Int32Array(sizeOf(to));
  const missing = to.length - from.length;
  let stride = 1;
  let repeat = 1;
  for (let axis = to.length - 1; axis >= 0; axis--) {
    const length = to[axis] as number;
    const own = axis >= missing ? (from[axis - missing] as number) : 1;
    if (own !== 1)
      for (let i = 0; i < indices.length; i++)
        indices[i] = (indices[i] as number) + (Math.floor(i / repeat) % length) * stride;
    stride *= own;
    repeat *= length;
  }
  return indices;
}

/** What a kernel of the backend makes of `temporary`, which is then gone. */
function replace(
  backend: NativeBackend,
  temporary: tf.TensorInfo,
  kernelName: string,
  inputs: Record<string, tf.TensorInfo>,
  attributes: object = {},
): tf.TensorInfo {
  const { kernelFunc } = tf.getKernel(kernelName, 'native');
  const result = kernelFunc({ inputs, backend, attrs: attributes as tf.NamedAttrMap }) as tf.TensorInfo;
  backend.disposeData(temporary.dataId);
  return result;
}

function onCpu(
  backend: NativeBackend,
  kernelName: string,
  inputs: Record<string, tf.TensorInfo>,
  attributes: object,
): tf.TensorInfo | tf.TensorInfo[] {
  return tf.getKernel(kernelName, 'cpu').kernelFunc({ inputs, backend, attrs: attributes as tf.NamedAttrMap });
}
