/** A whole transformer block and its gradient, as the compiler (src/compile) asks for them. Unlike other kernels the second changes tensors: gradients that it adds to. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';
import type { NativeBackend } from '../backend.ts';

/** Names of the block's parameters, in the order of its steps, which is the engine's. */
export const parameterNames = [
  'inputNormWeight',
  'inputNormBias',
  'queryKeyValueWeight',
  'queryKeyValueBias',
  'denseWeight',
  'denseBias',
  'postNormWeight',
  'postNormBias',
  'upWeight',
  'upBias',
  'downWeight',
  'downBias',
] as const;

type ParameterName = (typeof parameterNames)[number];
type Weights = Readonly<Record<ParameterName, tf.TensorInfo>>;

interface ForwardInputs extends Weights {
  readonly hidden: tf.TensorInfo;
  readonly attentionMask: tf.TensorInfo;
}

interface GradientInputs extends ForwardInputs {
  readonly outputGradient: tf.TensorInfo;
  /** What forward kept; without it forward runs again. */
  readonly kept?: tf.TensorInfo;
}

interface Attributes {
  readonly slopes: Float32Array;
  /** As crates/addon/src/program.rs has them. */
  readonly numbers: Float64Array;
}

interface ForwardAttributes extends Attributes {
  /** Whether the second output is what backward needs. */
  readonly keeps: boolean;
}

/** Marks gradients of `GradientAttributes.gradients` that are not wanted, and those that are to be made. */
export const gradientMarks = { unwanted: -1, made: -2 } as const;

interface GradientAttributes extends Attributes {
  /** How forward stored activations. */
  readonly storage: number;
  /** For each parameter the handle of a gradient to add to, or a mark. Those that are made are the outputs behind the gradient of `hidden`. */
  readonly gradients: Int32Array;
}

function handlesOf(backend: NativeBackend, inputs: Weights): Uint32Array {
  return Uint32Array.from(parameterNames, (name) => backend.handle(inputs[name]));
}

export const transformerBlockKernels: readonly NativeKernel[] = [
  kernel<ForwardInputs, ForwardAttributes>('TransformerBlock', (backend, inputs, { slopes, numbers, keeps }) => {
    const { hidden, attentionMask } = inputs;
    const [output, kept] = addon().blockForward(
      backend.handle(hidden),
      backend.handle(attentionMask),
      handlesOf(backend, inputs),
      slopes,
      numbers,
      backend.activationStorage,
      keeps,
    );
    const result = backend.fromHandle(output, hidden.shape);
    if (kept === undefined) return result;
    const [batch, seq, width] = hidden.shape as [number, number, number];
    const inner = inputs.upBias.shape[0] as number;
    const bytes = addon().blockKeptBytes(batch * seq, width, inner, slopes.length, backend.activationStorage);
    return [result, backend.fromHandle(kept, [bytes], 'bool')];
  }),

  kernel<GradientInputs, GradientAttributes>('TransformerBlockGrad', (backend, inputs, attributes) => {
    const { hidden, attentionMask, outputGradient, kept } = inputs;
    const { gradients } = attributes;
    const [hiddenGradient, ...made] = addon().blockBackward(
      backend.handle(outputGradient),
      backend.handle(hidden),
      backend.handle(attentionMask),
      handlesOf(backend, inputs),
      kept === undefined ? null : backend.handle(kept),
      gradients,
      attributes.slopes,
      attributes.numbers,
      attributes.storage,
    );
    const names = parameterNames.filter((_, i) => gradients[i] === gradientMarks.made);
    return [
      backend.fromHandle(hiddenGradient, hidden.shape),
      ...made.map((handle, i) => backend.fromHandle(handle, inputs[names[i] as ParameterName].shape)),
    ];
  }),
];
