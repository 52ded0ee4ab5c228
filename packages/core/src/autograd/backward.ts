/** Reverse-mode differentiation by our own walk over tfjs's tape: frees as it goes, gradients land in `parameter.grad`. */
import { TensorloomError } from '../errors.ts';
import type { Parameter } from '../modules/parameter.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { isRecording, record, freeSaved } from './tape.ts';
import { planWalk, walk } from './walk.ts';

/**
 * What the closure given to `backward` returns: a scalar loss, or an object with one and anything else (logits).
 * `items` is the number of items (reviews; unmasked tokens for language modelling) that `loss` is the mean over; default 1.
 */
export type LossOutput = Scalar | { readonly loss: Scalar; readonly items?: number };

/** What the walk starts from and where it ends. */
export interface BackwardOptions<T extends LossOutput = LossOutput> {
  /**
   * Seed of the walk, d(objective)/d(loss): number of items × loss scale. A function gets what `compute` returned, for
   * when the number of items is known only then. Default 1.
   */
  readonly seed?: number | ((output: T) => number);
  /** Parameters that take part; a gradient is added into each one's `grad`. Frozen ones are passed over. */
  readonly parameters: Iterable<Parameter>;
  /** Called before the walk with the trainable parameters that the loss depends on. */
  readonly onWalk?: (used: ReadonlySet<Parameter>) => void;
  /** Called during the walk as soon as a parameter's gradient is complete; never for one that the loss does not depend on. */
  readonly onParameterReady?: (parameter: Parameter) => void;
}

/**
 * Runs `compute` (synchronous) while recording, then walks the tape backwards from the loss, freeing as it goes, and
 * adds the gradients into `parameter.grad`. Returns what `compute` returned; its tensors belong to the caller (to the
 * enclosing `tf.tidy`, if there is one). A parameter that the loss does not depend on keeps its `grad` as it was.
 *
 * The gradient functions are tfjs's own and are applied in tfjs's order, so the result equals `tf.variableGrads` to the
 * last bit. If `compute` or a gradient throws, no tape stays open and no tensor of this call is left; gradients that had
 * been added before the failure stay in `grad` (call `zeroGrad`).
 *
 * @throws TensorloomError `MISUSE` if the loss is not a float32 scalar or depends on no trainable parameter, if `compute`
 *   is asynchronous, or if this is called while another tape is recording (inside `tf.grad` or another `backward`);
 *   `UNSUPPORTED` if an operation on the way has no gradient
 */
export function backward<T extends LossOutput>(compute: () => T, options: BackwardOptions<T>): T {
  if (isRecording())
    throw new TensorloomError(
      'MISUSE',
      'backward was called while another tape is recording (inside tf.grad, tf.variableGrads or another backward). Call it outside; second-order gradients are not supported.',
    );
  const all = [...options.parameters];
  try {
    return recordAndWalk(compute, all, options);
  } finally {
    for (const parameter of all) parameter.forgetTape();
  }
}

function recordAndWalk<T extends LossOutput>(
  compute: () => T,
  all: readonly Parameter[],
  options: BackwardOptions<T>,
): T {
  const { result, tape, firstId } = record(() => {
    const output = compute();
    if (output instanceof Promise)
      throw new TensorloomError(
        'MISUSE',
        'The closure given to backward must be synchronous, but it returned a promise. Await data before calling backward.',
      );
    return output;
  });
  try {
    const loss = lossOf(result);
    const parameters = all.filter((parameter) => parameter.requiresGrad);
    const plan = planWalk(tape, parameters, loss);
    if (plan.uses.size === 0)
      throw new TensorloomError(
        'MISUSE',
        `The loss depends on none of the ${parameters.length} trainable parameters given. Compute it from them inside the closure given to backward (frozen parameters do not count).`,
      );
    const seed = typeof options.seed === 'function' ? options.seed(result) : (options.seed ?? 1);
    options.onWalk?.(new Set(plan.uses.keys()));
    walk(plan, loss, tf.scalar(seed, 'float32'), options.onParameterReady);
  } catch (error) {
    disposeMade(result, firstId);
    throw error;
  } finally {
    tape.forEach(freeSaved);
  }
  return result;
}

function lossOf(output: LossOutput): Tensor {
  const loss: unknown =
    output instanceof tf.Tensor ? output : (output as { readonly loss?: unknown } | null | undefined)?.loss;
  if (!isTensor(loss))
    throw new TensorloomError(
      'MISUSE',
      'The closure given to backward must return a scalar loss or an object with a field `loss` that is one.',
    );
  if (loss.rank !== 0 || loss.dtype !== 'float32')
    throw new TensorloomError(
      'MISUSE',
      `The loss must be a float32 scalar, but it is ${loss.dtype} of shape [${loss.shape.join(', ')}]. Reduce it, for instance with .mean().`,
    );
  return loss;
}

function isTensor(value: unknown): value is Tensor {
  return value instanceof tf.Tensor;
}

/** Frees the tensors in `output` that `compute` made: it may have returned some of the caller's as well. */
function disposeMade(output: LossOutput, firstId: number): void {
  const made: Tensor[] = [];
  const visit = (value: unknown): void => {
    if (isTensor(value)) made.push(value);
    else if (Array.isArray(value)) value.forEach(visit);
    else if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
      Object.values(value).forEach(visit);
  };
  visit(output);
  for (const tensor of made) if (tensor.id > firstId && !tensor.kept) tensor.dispose();
}
