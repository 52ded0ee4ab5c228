/** How far a result may lie from its reference. Each bound is stated once, here. */

/** Activations (logits, hidden states): absolute, plus relative to the tensor's largest value. */
export const ACTIVATION_ABSOLUTE = 1e-5;
export const ACTIVATION_RELATIVE = 1e-5;
/** Gradients: relative to the tensor's largest. */
export const GRADIENT_RELATIVE = 1e-4;
/**
 * A gradient whose largest element is below this is rounding noise (its true value is zero), of which nothing can be
 * asked but to be noise as well. In units of the largest gradient of the whole model, or 1 if that is smaller.
 */
export const GRADIENT_NOISE = 1e-7;
/**
 * Parameters after an optimizer run, where the gradient is larger than `MOVING_GRADIENT`: the reference gradient of
 * micro-batch 0 and, for Adam and AdamW, that of every step of the run. (A window's gradients can cancel out to 1e-8 where
 * those of its micro-batches are 1e-2, and what is left is rounding noise, which Adam turns into a step of its full
 * size. References hold no gradients of later steps, so that these are our own,
 * which may excuse only a few elements: `OWN_EXCUSES`.)
 */
export const PARAMETER_ABSOLUTE = 2e-5;
export const MOVING_GRADIENT = 1e-6;
/** Our own gradients may excuse so many elements of a tensor, or that share of them if it is more. */
export const OWN_EXCUSES = { elements: 2, share: 1e-3 } as const;
/** Losses. */
export const LOSS_ABSOLUTE = 1e-5;
/** No result can be closer than this many units in the last place of float32 (matters for losses above 20). */
const FLOAT32_ULPS = 4;
/** A fine-tuning run: how many of its first micro-batches are compared one by one, and of its last ones the mean. */
export const RUN_FIRST = 120;
export const RUN_LAST = 40;
/** Losses, the mean loss at the end, and accuracies (1.5 and 2 points) of a fine-tuning run in float32, and where anything is stored as halves. */
export const RUN_BOUNDS = {
  float32: { first: 2e-3, last: 1e-2, accuracy: 0.015 },
  halves: { first: 3e-2, last: 3e-2, accuracy: 0.02 },
} as const;

export function activationBound(largest: number): number {
  return ACTIVATION_ABSOLUTE + ACTIVATION_RELATIVE * largest;
}

/** @param largestOfModel the largest gradient over all tensors of the model */
export function gradientBound(largest: number, largestOfModel: number): number {
  const noise = GRADIENT_NOISE * Math.max(1, largestOfModel);
  return largest < noise ? noise : GRADIENT_RELATIVE * largest;
}

/** Where the true gradient is zero, Adam turns rounding noise into steps of up to `lr`, in either direction. */
export function stillParameterBound(lr: number, steps: number): number {
  return 2 * lr * steps;
}

export function lossBound(reference: number): number {
  return Math.max(LOSS_ABSOLUTE, FLOAT32_ULPS * 2 ** -23 * Math.abs(reference));
}

/** The norm over all gradients is held to the bound of the gradients. */
export function normBound(reference: number): number {
  return GRADIENT_RELATIVE * reference;
}
