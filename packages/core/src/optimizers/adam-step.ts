/** One update of Adam or AdamW composed of tfjs operations, and what a kernel for it is told. */
import { tf, type Tensor } from '../tensors.ts';

/** What the kernel `AdamStep` gets as attributes. */
export interface AdamStepAttributes {
  readonly lr: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly decoupled: boolean;
  /** 1 for the first step. */
  readonly step: number;
  /** What gradients are multiplied with first. */
  readonly gradientScale: number;
}

/** Step size and root of the second moment, corrected for both moments' start at zero. */
export function adamCorrections({
  lr,
  beta1,
  beta2,
  step,
}: Pick<AdamStepAttributes, 'lr' | 'beta1' | 'beta2' | 'step'>): {
  stepSize: number;
  rootCorrection: number;
} {
  return { stepSize: lr / (1 - beta1 ** step), rootCorrection: Math.sqrt(1 - beta2 ** step) };
}

/** The composite of `AdamStep`: new value and moments. */
export function adamStep(
  { value, gradient, expAvg, expAvgSq }: Readonly<Record<'value' | 'gradient' | 'expAvg' | 'expAvgSq', Tensor>>,
  attributes: AdamStepAttributes,
): [value: Tensor, expAvg: Tensor, expAvgSq: Tensor] {
  const { lr, beta1, beta2, epsilon, weightDecay, decoupled, gradientScale } = attributes;
  const { stepSize, rootCorrection } = adamCorrections(attributes);
  return tf.tidy(() => {
    const scaled = gradientScale === 1 ? gradient : tf.mul(gradient, gradientScale);
    const g = weightDecay !== 0 && !decoupled ? tf.add(scaled, tf.mul(value, weightDecay)) : scaled;
    const m = tf.add(expAvg, tf.mul(tf.sub(g, expAvg), 1 - beta1));
    const v = tf.add(tf.mul(expAvgSq, beta2), tf.mul(tf.square(g), 1 - beta2));
    // Numerator and denominator times the correction of the second moment's root: one pass over memory less.
    const direction = tf.div(m, tf.add(tf.sqrt(v), epsilon * rootCorrection));
    const decayed = weightDecay !== 0 && decoupled ? tf.mul(value, 1 - lr * weightDecay) : value;
    return [tf.sub(decayed, tf.mul(direction, stepSize * rootCorrection)), m, v];
  });
}
