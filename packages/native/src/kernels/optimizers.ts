/** Steps of optimizers in place: `AdamStep` and `SGDStep` on tensors, `AdamRows` and `SGDRows` on tables in JavaScript's memory. */
import {
  adamCorrections,
  type AdamStepAttributes,
  type RowStepAttributes,
  type SGDStepAttributes,
  type tf,
} from '@tensorloom/core';
import { addon } from '../addon.ts';
import type { NativeBackend } from '../backend.ts';
import { kernel, type NativeKernel } from './kernel.ts';

interface AdamInputs {
  readonly value: tf.TensorInfo;
  readonly gradient: tf.TensorInfo;
  readonly expAvg: tf.TensorInfo;
  readonly expAvgSq: tf.TensorInfo;
}

interface SGDInputs {
  readonly value: tf.TensorInfo;
  readonly gradient: tf.TensorInfo;
  readonly momentumBuffer?: tf.TensorInfo;
}

interface RowInputs {
  readonly gradients: tf.TensorInfo;
}

/** In the order of the engine's `AdamFactors`. */
function adamFactors(attributes: AdamStepAttributes): Float64Array {
  const { lr, beta1, beta2, epsilon, weightDecay, decoupled, gradientScale } = attributes;
  const { stepSize, rootCorrection } = adamCorrections(attributes);
  const [coupledDecay, valueKept] = decoupled ? [0, 1 - lr * weightDecay] : [weightDecay, 1];
  const [rate, correctedEpsilon] = [stepSize * rootCorrection, epsilon * rootCorrection];
  return Float64Array.of(gradientScale, coupledDecay, 1 - beta1, beta2, 1 - beta2, valueKept, rate, correctedEpsilon);
}

/** In the order of the engine's `SgdFactors`. */
function sgdFactors(attributes: SGDStepAttributes): Float64Array {
  const { lr, momentum, dampening, weightDecay, nesterov, step, gradientScale } = attributes;
  const share = step === 1 || momentum === 0 ? 1 : 1 - dampening;
  return Float64Array.of(gradientScale, weightDecay, momentum, share, lr, Number(nesterov));
}

/**
 * Runs a step in place and returns nothing; where a clone of a tensor would change with it, on copies, which take the
 * places of the tensors.
 */
function inPlace(
  backend: NativeBackend,
  changed: readonly tf.TensorInfo[],
  step: (tensors: readonly tf.TensorInfo[]) => void,
): tf.TensorInfo[] {
  if (changed.every((tensor) => backend.isExclusive(tensor))) {
    step(changed);
    return [];
  }
  const copies = changed.map((tensor) => backend.copy(tensor));
  step(copies);
  return copies;
}

export const optimizerKernels: readonly NativeKernel[] = [
  kernel<AdamInputs, AdamStepAttributes>('AdamStep', (backend, { value, gradient, expAvg, expAvgSq }, attributes) =>
    inPlace(backend, [value, expAvg, expAvgSq], (tensors) => {
      const [ofValue, first, second] = tensors.map((tensor) => backend.handle(tensor)) as [number, number, number];
      addon().adamStep(ofValue, backend.handle(gradient), first, second, adamFactors(attributes));
    }),
  ),
  kernel<SGDInputs, SGDStepAttributes>('SGDStep', (backend, { value, gradient, momentumBuffer }, attributes) =>
    inPlace(backend, momentumBuffer === undefined ? [value] : [value, momentumBuffer], (tensors) => {
      const [ofValue, buffer] = tensors.map((tensor) => backend.handle(tensor)) as [number, number | undefined];
      addon().sgdStep(ofValue, backend.handle(gradient), buffer ?? null, sgdFactors(attributes));
    }),
  ),
  kernel<RowInputs, AdamStepAttributes & RowStepAttributes>('AdamRows', (backend, { gradients }, attributes) => {
    const { table, rows, offsets, width } = attributes;
    const [expAvg, expAvgSq] = attributes.moments as [Float32Array, Float32Array];
    const handle = backend.handle(gradients);
    addon().adamRows(table, handle, expAvg, expAvgSq, rows, offsets, width, adamFactors(attributes));
    return [];
  }),
  kernel<RowInputs, SGDStepAttributes & RowStepAttributes>('SGDRows', (backend, { gradients }, attributes) => {
    const { table, rows, offsets, width, moments } = attributes;
    addon().sgdRows(table, backend.handle(gradients), moments[0] ?? null, rows, offsets, width, sgdFactors(attributes));
    return [];
  }),
];
