/** Stochastic gradient descent with momentum, with PyTorch's formulas (which differ from Sutskever et al., 2013, in where lr stands). */
import { isKernel } from '../autograd/tape.ts';
import { runKernel } from '../ops/fused-op.ts';
import { tf } from '../tensors.ts';
import {
  checkCommonOptions,
  Optimizer,
  parameterGroups,
  type DenseUpdate,
  type ParameterGroup,
  type ParameterGroups,
  type RowUpdate,
} from './optimizer.ts';
import { rowStepAttributes } from './row-step.ts';

/** Hyper-parameters of SGD. */
export interface SGDOptions {
  /** Learning rate, default 1e-3. */
  lr: number;
  /** Default 0. */
  momentum: number;
  /** How much less a gradient counts when it enters the momentum, default 0. */
  dampening: number;
  /** λ of an L2 penalty, added to the gradient, default 0. */
  weightDecay: number;
  /** Nesterov's momentum; needs momentum and no dampening. Default false. */
  nesterov: boolean;
}

/** A parameter group of SGD with its hyper-parameters. */
export type SGDGroup = SGDOptions & ParameterGroup;

/** What the kernel `SGDStep` gets as attributes. */
export interface SGDStepAttributes extends SGDOptions {
  /** 1 for the first step, in which dampening does not count. */
  readonly step: number;
  /** What gradients are multiplied with first. */
  readonly gradientScale: number;
}

/**
 * `g += λ w; b = μ b + (1 - dampening) g (first step: b = g); w -= lr · (nesterov ? g + μ b : b)`; without momentum `w -= lr g`.
 *
 * A backend takes the update over by registering a tfjs kernel `SGDStep` with the inputs `value`, `gradient` and, with
 * momentum, `momentumBuffer`. It either changes the first and the last in place and returns `[]`, or consumes these and
 * returns their successors. It takes over steps on rows of a table in host memory by a kernel `SGDRows`
 * (`RowStepAttributes`), which returns `[]`.
 */
export class SGD extends Optimizer<SGDGroup> {
  protected readonly momentNames: readonly string[];
  protected override readonly scalesGradients = true;

  /** @throws TensorloomError `BAD_OPTION` for hyper-parameters out of range */
  constructor(parameters: ParameterGroups<SGDOptions>, options: Partial<SGDOptions> = {}) {
    super(
      parameterGroups(
        parameters,
        options,
        { lr: 1e-3, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false },
        check,
      ),
    );
    this.momentNames = this.groups.some((group) => group.momentum !== 0) ? ['momentum_buffer'] : [];
  }

  protected override updateDense(
    { parameter, gradient, state, step, gradientScale }: DenseUpdate,
    group: SGDGroup,
  ): void {
    const attributes = attributesOf(group, step, gradientScale);
    const [momentumBuffer] = state.dense;
    const inputs = { value: parameter.value, gradient, ...(momentumBuffer && { momentumBuffer }) };
    const [value, ...moments] = isKernel('SGDStep')
      ? runKernel('SGDStep', inputs, attributes)
      : sgdStep(inputs, attributes);
    if (value === undefined) return;
    state.dense = moments;
    parameter.assign(value);
  }

  protected override updateRows({ parameter, gradient, state, step, gradientScale }: RowUpdate, group: SGDGroup): void {
    const { rows } = state;
    const { lr, momentum, dampening, weightDecay, nesterov } = group;
    // Decay gives every row a gradient; without momentum only the rows of this gradient move.
    if (weightDecay !== 0) rows.visitAll();
    else rows.visit(gradient.indices);
    if (isKernel('SGDRows')) {
      parameter.updateOnHost((table) =>
        runKernel(
          'SGDRows',
          { gradients: gradient.rows },
          { ...attributesOf(group, step, gradientScale), ...rowStepAttributes(rows, table, gradient.indices) },
        ),
      );
      return;
    }
    const offsets = rows.gradientOffsets(gradient.indices);
    const gradients = gradient.rows.dataSync<'float32'>();
    const buffer = rows.moments[0];
    const share = step === 1 || momentum === 0 ? 1 : 1 - dampening;
    const { width } = rows;
    parameter.updateOnHost((table) => {
      for (let k = 0; k < rows.count; k++) {
        const from = offsets[k] as number;
        if (from < 0 && buffer === undefined && weightDecay === 0) continue;
        const at = k * width;
        const to = (rows.rows[k] as number) * width;
        for (let j = 0; j < width; j++) {
          const w = table[to + j] as number;
          const g = (from < 0 ? 0 : Math.fround(gradientScale * (gradients[from + j] as number))) + weightDecay * w;
          let move = g;
          if (buffer !== undefined) {
            const b = Math.fround(momentum * (buffer[at + j] as number) + share * g);
            buffer[at + j] = b;
            move = nesterov ? g + momentum * b : b;
          }
          table[to + j] = w - lr * move;
        }
      }
    });
  }
}

function attributesOf(
  { lr, momentum, dampening, weightDecay, nesterov }: SGDGroup,
  step: number,
  gradientScale: number,
): SGDStepAttributes {
  return { lr, momentum, dampening, weightDecay, nesterov, step, gradientScale };
}

/** The composite of `SGDStep`: new value and, with momentum, buffer. */
function sgdStep(
  {
    value,
    gradient,
    momentumBuffer,
  }: { readonly value: tf.Tensor; readonly gradient: tf.Tensor; readonly momentumBuffer?: tf.Tensor },
  { lr, momentum, dampening, weightDecay, nesterov, step, gradientScale }: SGDStepAttributes,
): tf.Tensor[] {
  return tf.tidy(() => {
    const scaled = gradientScale === 1 ? gradient : tf.mul(gradient, gradientScale);
    const g = weightDecay === 0 ? scaled : tf.add(scaled, tf.mul(value, weightDecay));
    if (momentumBuffer === undefined) return [tf.sub(value, tf.mul(g, lr))];
    const share = step === 1 || momentum === 0 ? 1 : 1 - dampening;
    const buffer = tf.add(tf.mul(momentumBuffer, momentum), share === 1 ? g : tf.mul(g, share));
    const move = nesterov ? tf.add(g, tf.mul(buffer, momentum)) : buffer;
    return [tf.sub(value, tf.mul(move, lr)), buffer];
  });
}

function check(options: SGDOptions): string | null {
  const { momentum, dampening, nesterov } = options;
  if (!(momentum >= 0 && Number.isFinite(momentum)))
    return `momentum is ${momentum}; it must be a number of at least 0.`;
  if (nesterov && (momentum === 0 || dampening !== 0))
    return `nesterov needs a momentum above 0 and dampening 0; they are ${momentum} and ${dampening}.`;
  return checkCommonOptions(options);
}
