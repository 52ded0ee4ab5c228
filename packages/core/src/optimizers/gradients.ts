/** Norm and clipping of the gradients of parameters, as torch.nn.utils.clip_grad_norm_ and clip_grad_value_. */
import { gradientValues, keepGradient, mapGradient } from '../autograd/accumulate.ts';
import { isKernel } from '../autograd/tape.ts';
import { TensorloomError } from '../errors.ts';
import { labelMemory } from '../memory-label.ts';
import type { Parameter } from '../modules/parameter.ts';
import { runKernel } from '../ops/fused-op.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';

/**
 * The p-norm of all gradients taken as one vector, as a scalar on the device. 0 if there are no gradients.
 *
 * A backend takes it over by registering a tfjs kernel `GradientNorm` with any number of inputs, whatever their names, and the
 * attribute `normType`, which returns the scalar: not finite exactly if an element is not, or if it is too large for a float32.
 * @param normType p > 0, or Infinity for the largest absolute value
 */
export function gradientNormTensor(parameters: Iterable<Parameter>, normType = 2): Scalar {
  if (!(normType > 0))
    throw new TensorloomError('BAD_OPTION', `normType is ${normType}; it must be above 0, or Infinity.`);
  return tf.tidy(() => {
    const gradients = [...parameters].flatMap(({ grad }) =>
      grad === null || gradientValues(grad).size === 0 ? [] : [gradientValues(grad)],
    );
    if (gradients.length === 0) return tf.scalar(0);
    if (isKernel('GradientNorm'))
      return runKernel('GradientNorm', Object.fromEntries(gradients.entries()), {
        normType,
      })[0] as Scalar;
    return vectorNorm(tf.stack(gradients.map((gradient) => tf.tidy(() => vectorNorm(gradient, normType)))), normType);
  });
}

function vectorNorm(x: Tensor, p: number): Scalar {
  if (p === Infinity) return tf.max(tf.abs(x));
  if (p === 2) return tf.sqrt(tf.sum(tf.square(x)));
  if (p === 1) return tf.sum(tf.abs(x));
  return tf.pow(tf.sum(tf.pow(tf.abs(x), p)), 1 / p);
}

/** The p-norm of all gradients taken as one vector; read from the device once. */
export function gradientNorm(parameters: Iterable<Parameter>, normType = 2): number {
  const norm = gradientNormTensor(parameters, normType);
  const value = norm.dataSync()[0] as number;
  norm.dispose();
  return value;
}

/**
 * Multiplies all gradients.
 *
 * A backend does it in place by registering a tfjs kernel `ScaleGradient` with the input `values` and the attribute `factor`: it
 * either changes them and returns `[]`, or, where something else shares the data, returns the product.
 */
export function scaleGradients(parameters: Iterable<Parameter>, factor: number): void {
  if (factor === 1) return;
  replaceGradients(parameters, (values) =>
    isKernel('ScaleGradient')
      ? (runKernel('ScaleGradient', { values }, { factor })[0] ?? values)
      : tf.mul(values, factor),
  );
}

/** What gradients are multiplied with so that their norm does not exceed `maxNorm`: `min(1, maxNorm / (norm + 1e-6))`. */
export function clipFactor(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}

/** Exactly one of the two limits. */
export interface ClipOptions {
  /** Largest norm of all gradients taken as one vector. */
  readonly maxNorm?: number;
  /** Which norm: p > 0 or Infinity, default 2. */
  readonly normType?: number;
  /** Largest absolute value of any element. */
  readonly clipValue?: number;
  /** Throw if the norm is not finite, default false. */
  readonly errorIfNonfinite?: boolean;
}

/**
 * Clips the gradients of `parameters` in `grad` by their common norm or by value; parameters without a gradient stay.
 * @returns the norm before clipping; NaN when clipping by value
 * @throws TensorloomError `BAD_OPTION` unless exactly one limit is given and is at least 0; `NON_FINITE` if asked for
 */
export function clipGradients(parameters: Iterable<Parameter>, options: ClipOptions): number {
  const { maxNorm, clipValue, normType = 2, errorIfNonfinite = false } = options;
  if ((maxNorm === undefined) === (clipValue === undefined))
    throw new TensorloomError(
      'BAD_OPTION',
      `clipGradients takes either maxNorm or clipValue; got ${maxNorm === undefined ? 'neither' : 'both'}.`,
    );
  for (const [name, limit] of Object.entries({ maxNorm, clipValue }))
    if (limit !== undefined && !(limit >= 0))
      throw new TensorloomError('BAD_OPTION', `${name} is ${limit}; it must be at least 0.`);
  const list = [...parameters];
  if (clipValue !== undefined) {
    clipGradientValues(list, clipValue);
    return NaN;
  }
  const norm = gradientNorm(list, normType);
  if (errorIfNonfinite && !Number.isFinite(norm))
    throw new TensorloomError(
      'NON_FINITE',
      `The norm of the gradients is ${norm}, so they cannot be clipped. Look for a diverging loss, or pass errorIfNonfinite: false.`,
    );
  scaleGradients(list, clipFactor(norm, maxNorm as number));
  return norm;
}

/** Limits every element to [-limit, limit]. */
export function clipGradientValues(parameters: Iterable<Parameter>, limit: number): void {
  replaceGradients(parameters, (values) => tf.clipByValue(values, -limit, limit));
}

/** `fn` may change the values in place and return them. */
function replaceGradients(parameters: Iterable<Parameter>, fn: (values: Tensor) => Tensor): void {
  for (const parameter of parameters) {
    const previous = parameter.grad;
    if (previous === null) continue;
    const next = mapGradient(previous, (values) => tf.tidy(() => fn(values)));
    if (gradientValues(next) === gradientValues(previous)) continue;
    parameter.grad = keepGradient(next);
    labelMemory(gradientValues(next), 'gradient');
    previous.dispose();
  }
}
