/** Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019), with PyTorch's formulas. */
import { isKernel } from '../autograd/tape.ts';
import { runKernel } from '../ops/fused-op.ts';
import { type Tensor } from '../tensors.ts';
import { adamCorrections, adamStep, type AdamStepAttributes } from './adam-step.ts';
import { registerTensorflowAdamStep } from './adam-step-tensorflow.ts';
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

/** Hyper-parameters of Adam and AdamW. */
export interface AdamOptions {
  /** Learning rate, default 1e-3. */
  lr: number;
  /** Decay of the first and the second moment, default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the denominator, default 1e-8. */
  epsilon: number;
  /** Adam: λ of an L2 penalty, added to the gradient. AdamW: each step also takes lr × λ of the value off. Default 0 (Adam), 0.01 (AdamW). */
  weightDecay: number;
}

/** A parameter group of Adam with its hyper-parameters. */
export type AdamGroup = AdamOptions & ParameterGroup;

registerTensorflowAdamStep();

/**
 * `m = β1 m + (1 - β1) g; v = β2 v + (1 - β2) g²; w -= lr / (1 - β1^t) · m / (sqrt(v / (1 - β2^t)) + ε)`.
 *
 * A backend takes the update over by registering a tfjs kernel `AdamStep` with the inputs `value`, `gradient`, `expAvg` and
 * `expAvgSq` and the attributes `AdamStepAttributes`. It either changes the first and the last two in place and returns `[]`,
 * or consumes these three and returns their successors. It takes over steps on rows of a table in host memory by a kernel
 * `AdamRows` (`RowStepAttributes`), which returns `[]`.
 */
export class Adam extends Optimizer<AdamGroup> {
  protected readonly momentNames = ['exp_avg', 'exp_avg_sq'];
  protected override readonly scalesGradients = true;
  readonly #decoupled: boolean;

  /** @throws TensorloomError `BAD_OPTION` for hyper-parameters out of range */
  constructor(parameters: ParameterGroups<AdamOptions>, options: Partial<AdamOptions> = {}, decoupled = false) {
    super(
      parameterGroups(
        parameters,
        options,
        { lr: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: decoupled ? 0.01 : 0 },
        check,
      ),
    );
    this.#decoupled = decoupled;
  }

  protected override updateDense(
    { parameter, gradient, state, step, gradientScale }: DenseUpdate,
    group: AdamGroup,
  ): void {
    const attributes = this.#attributes(group, step, gradientScale);
    const [expAvg, expAvgSq] = state.dense as [Tensor, Tensor];
    const inputs = { value: parameter.value, gradient, expAvg, expAvgSq };
    const [value, ...moments] = isKernel('AdamStep')
      ? runKernel('AdamStep', inputs, attributes)
      : adamStep(inputs, attributes);
    if (value === undefined) return;
    state.dense = moments;
    parameter.assign(value);
  }

  protected override updateRows(
    { parameter, gradient, state, step, gradientScale }: RowUpdate,
    group: AdamGroup,
  ): void {
    const { rows } = state;
    const attributes = this.#attributes(group, step, gradientScale);
    // Coupled decay gives every row a gradient.
    if (attributes.weightDecay !== 0 && !attributes.decoupled) rows.visitAll();
    else rows.visit(gradient.indices);
    if (isKernel('AdamRows')) {
      parameter.updateOnHost((table) =>
        runKernel(
          'AdamRows',
          { gradients: gradient.rows },
          { ...attributes, ...rowStepAttributes(rows, table, gradient.indices) },
        ),
      );
      return;
    }
    const offsets = rows.gradientOffsets(gradient.indices);
    const gradients = gradient.rows.dataSync<'float32'>();
    const { lr, weightDecay, beta1, beta2, epsilon, decoupled } = attributes;
    const { stepSize, rootCorrection } = adamCorrections(attributes);
    const kept = decoupled ? 1 - lr * weightDecay : 1;
    const coupled = decoupled ? 0 : weightDecay;
    const [first, second] = rows.moments as [Float32Array, Float32Array];
    const { width } = rows;
    parameter.updateOnHost((table) => {
      if (kept !== 1) for (let i = 0; i < table.length; i++) table[i] = (table[i] as number) * kept;
      for (let k = 0; k < rows.count; k++) {
        const from = offsets[k] as number;
        const at = k * width;
        const to = (rows.rows[k] as number) * width;
        for (let j = 0; j < width; j++) {
          const w = table[to + j] as number;
          const g = (from < 0 ? 0 : Math.fround(gradientScale * (gradients[from + j] as number))) + coupled * w;
          const m = (first[at + j] as number) + (g - (first[at + j] as number)) * (1 - beta1);
          const v = (second[at + j] as number) * beta2 + g * g * (1 - beta2);
          first[at + j] = m;
          second[at + j] = v;
          table[to + j] = w - (stepSize * m) / (Math.sqrt(v) / rootCorrection + epsilon);
        }
      }
    });
  }

  #attributes({ lr, betas, epsilon, weightDecay }: AdamGroup, step: number, gradientScale: number): AdamStepAttributes {
    return {
      lr,
      beta1: betas[0],
      beta2: betas[1],
      epsilon,
      weightDecay,
      decoupled: this.#decoupled,
      step,
      gradientScale,
    };
  }
}

/** Adam with decoupled weight decay: `w -= lr λ w` before each step. */
export class AdamW extends Adam {
  /** @throws TensorloomError `BAD_OPTION` for hyper-parameters out of range */
  constructor(parameters: ParameterGroups<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(parameters, options, true);
  }
}

function check(options: AdamOptions): string | null {
  const { betas, epsilon } = options;
  for (const [i, beta] of betas.entries())
    if (!(beta >= 0 && beta < 1)) return `betas[${i}] is ${beta}; it must be at least 0 and below 1.`;
  if (!(epsilon >= 0)) return `epsilon is ${epsilon}; it must be at least 0.`;
  return checkCommonOptions(options);
}
